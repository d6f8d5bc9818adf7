"""Reads pickles without executing anything: it can build containers and nothing else.

A pickle is a program for a small stack machine, and Python's own machine imports and calls whatever
the program names. This one knows the instructions that containers of numbers, strings and tensors
need. A name stands for one of the functions it was given, or the file is rejected with that name;
so nothing in a file is ever executed.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from tinyfcn.weights.file import WeightsError

MOST_INSTRUCTIONS = 2_000_000
_LARGEST_KEY = 1 << 60  # larger integers could all be given the same hash

_VALUES = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE",
    "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
}  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
# What puts values into a container: how many it takes from the stack, None for all since the mark.
_TAKES = {
    "TUPLE": None, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "LIST": None, "DICT": None,
    "APPEND": 1, "APPENDS": None, "SETITEM": 2, "SETITEMS": None,
}  # fmt: skip


def unpickle(
    file: BinaryIO,
    admitted: Mapping[str, Any],
    persistent: Callable[[Any], Any],
) -> Any:
    """Run one pickle; the file is left behind its end.

    Args:
        file: an ``io.BytesIO``, which never gives more bytes than there are.
        admitted: the function or value that stands for each name, ``"module name"``.
        persistent: gives the object that an identifier from outside of the pickle stands for.

    Raises:
        WeightsError: if the pickle is damaged, or needs a name or an instruction not admitted.
    """
    machine = _Machine(admitted, persistent)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            if count == MOST_INSTRUCTIONS:
                raise WeightsError(f"its pickle has more than {count:,} instructions: rejected")
            machine.step(opcode.name, argument)
        return machine.stack.pop()
    except WeightsError:
        raise
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"damaged pickle ({error!r})") from error


class _Machine:
    def __init__(self, admitted: Mapping[str, Any], persistent: Callable[[Any], Any]) -> None:
        self.admitted, self.persistent = admitted, persistent
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []  # the stacks below each mark
        self.memo: dict[int, Any] = {}

    def step(self, op: str, argument: Any) -> None:
        stack = self.stack
        if op in _VALUES:
            stack.append(argument)
        elif op in _CONSTANTS:
            stack.append(_CONSTANTS[op])
        elif op in ("EMPTY_DICT", "EMPTY_LIST"):
            stack.append({} if op == "EMPTY_DICT" else [])
        elif op == "MARK":
            self.marked.append(stack)
            self.stack = []
        elif op in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if op == "MEMOIZE" else argument] = stack[-1]
        elif op in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif op in _TAKES:
            self._gather(op)
        elif op in ("GLOBAL", "STACK_GLOBAL"):
            if op == "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                argument = f"{module} {name}"
            stack.append(self._named(argument))
        elif op == "REDUCE":
            arguments, function = _expect(stack.pop(), tuple), stack.pop()
            stack.append(function(*arguments))  # what can be called is admitted, there is no other
        elif op == "BUILD":
            # An OrderedDict's attributes: torch's versions of layers, which nobody needs.
            stack.pop()
            _expect(stack[-1], dict)
        elif op == "BINPERSID":
            stack.append(self.persistent(stack.pop()))
        elif op not in ("PROTO", "FRAME", "STOP"):
            raise WeightsError(f"its pickle uses the instruction {op}, which no weights need")

    def _gather(self, op: str) -> None:
        """Put the last values, or all since the last mark, into a container."""
        count = _TAKES[op]
        if count is None:
            items, self.stack = self.stack, self.marked.pop()
        else:
            items = [self.stack.pop() for _ in range(count)][::-1]
        if op.startswith("TUPLE"):
            self.stack.append(tuple(items))
        elif op == "LIST":
            self.stack.append(items)
        elif op == "DICT":
            self.stack.append(_set_items({}, items))
        elif op.startswith("APPEND"):
            _expect(self.stack[-1], list).extend(items)
        else:
            _set_items(_expect(self.stack[-1], dict), items)

    def _named(self, name: str) -> Any:
        if name not in self.admitted:
            shown = name.replace(" ", ".")[:100]
            raise WeightsError(
                f"it asks for {shown}, which is not a tensor or container: rejected, nothing was "
                "executed. A file that holds only model.state_dict() can be read"
            )
        return self.admitted[name]


def _expect(value: Any, kind: type[Any]) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"expected a {kind.__name__}, found a {type(value).__name__}")
    return value


def _set_items(into: dict[Any, Any], items: list[Any]) -> dict[Any, Any]:
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not (isinstance(key, str) or (isinstance(key, int) and abs(key) < _LARGEST_KEY)):
            raise TypeError(f"a dict's key is a {type(key).__name__}")
        into[key] = value
    return into
