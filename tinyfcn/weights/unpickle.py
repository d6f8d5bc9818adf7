"""Reads pickles without executing anything: it can build containers and nothing else.

A pickle is a program for a small stack machine, and Python's own machine imports and calls whatever
the program names. This one knows the instructions that containers of numbers, strings and tensors
need. A name stands for one of the functions it was given, or the file is rejected with that name;
so nothing in a file is ever executed.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO

from tinyfcn.weights.file import WeightsError, is_key, reading

MOST_INSTRUCTIONS = 400_000


def unpickle(
    file: BinaryIO, admitted: Callable[[str], Any], persistent: Callable[[Any], Any]
) -> Any:
    """Run one pickle; the file is left behind its end.

    Args:
        file: an ``io.BytesIO``, which never gives more bytes than there are.
        admitted: gives the function or value that stands for a name, ``"module name"``, or None.
        persistent: gives the object that an identifier from outside of the pickle stands for.

    Raises:
        WeightsError: if the pickle is damaged, or needs a name or an instruction not admitted.
    """

    def named(name: str) -> Any:
        value = admitted(name)
        if value is None:
            shown = name.replace(" ", ".")[:100]
            raise WeightsError(
                f"it asks for {shown}, which is not a tensor or container: rejected, nothing was "
                "executed. A file that holds only model.state_dict() can be read"
            )
        return value

    stack: list[Any] = []
    marks: list[int] = []  # sizes that the stack had
    memo: dict[str, Any] = {}  # by text, since numbers can be chosen to have one hash
    functions: dict[str, Callable[..., Any]] = {
        **_FUNCTIONS,
        **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda i: memo[str(i)]),
        "GLOBAL": named,
        "STACK_GLOBAL": lambda module, name: named(f"{module} {name}"),
        "BINPERSID": persistent,
    }
    with reading("damaged pickle"):
        for count, (op, argument, _) in enumerate(pickletools.genops(file)):
            if count == MOST_INSTRUCTIONS:
                raise WeightsError(f"its pickle has more than {count:,} instructions: rejected")
            if op.name == "MARK":
                marks.append(len(stack))
            elif op.name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
                memo[str(len(memo) if argument is None else argument)] = stack[-1]
            elif op.name in functions:
                operands = _take(op, stack, marks) if op.stack_before else []
                operands += [] if op.arg is None else [argument]
                stack.append(functions[op.name](*operands))
            elif op.name not in ("PROTO", "FRAME", "STOP"):
                raise WeightsError(
                    f"its pickle uses the instruction {op.name}, which no weights need"
                )
        return stack.pop()


def _take(op: pickletools.OpcodeInfo, stack: list[Any], marks: list[int]) -> list[Any]:
    """Take from the stack what an instruction works on, of the types that it works on."""
    marked = pickletools.markobject in op.stack_before
    types = [one.obtype for one in (op.stack_before[:-2] if marked else op.stack_before)]
    start = (marks.pop() if marked else len(stack)) - len(types)
    if start < 0:
        raise IndexError("the stack is empty")
    operands = stack[start:]
    del stack[start:]
    if not all(map(isinstance, operands, types)):
        raise TypeError(f"{op.name} of a {type(operands[0]).__name__}")
    return operands


def _append(into: list[Any], *items: Any) -> list[Any]:
    into.extend(items)
    return into


def set_items(into: dict[Any, Any], *items: Any) -> dict[Any, Any]:
    """Keys and values in turn; of other keys than text and numbers, not even a hash is asked for.

    Example:
        >>> set_items({}, "w", 1, (((),),), 2)
        {'w': 1}
    """
    into.update((k, v) for k, v in zip(items[::2], items[1::2], strict=True) if is_key(k))
    return into


# What instructions put on the stack, of what they take from it and of their argument.
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: function
    for names, function in (
        ("INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT", lambda value: value),
        ("STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE", lambda value: value),
        ("SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8", lambda value: value),
        ("NONE", lambda: None),
        ("NEWTRUE", lambda: True),
        ("NEWFALSE", lambda: False),
        ("EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3", lambda *items: items),
        ("EMPTY_LIST LIST", lambda *items: [*items]),
        ("EMPTY_DICT DICT", lambda *items: set_items({}, *items)),
        # Sets are beside the weights: they stay empty.
        ("EMPTY_SET", set),
        ("ADDITEMS", lambda value, *_: value),
        ("APPEND APPENDS", _append),
        ("SETITEM SETITEMS", set_items),
        # What can be called is admitted, there is no other.
        ("REDUCE NEWOBJ", lambda function, arguments: function(*arguments)),
        # An OrderedDict's attributes: torch's versions of layers, which nobody needs.
        ("BUILD", lambda value, _: value),
    )
    for name in names.split()
}
