"""Where does the NaN come from? Looks at what every op gives, forward and backward."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from tinyfcn import backend
from tinyfcn.backend.meta import MetaArray
from tinyfcn.function import Function, Hook, as_tensor
from tinyfcn.nn import Module
from tinyfcn.tensor import Tensor


class AnomalyError(RuntimeError):
    """An op gave NaN, or under ``check_inf`` infinity.

    Attributes:
        op: the name of the op's class, such as "Log".
        module: the module that called it, such as "backbone.conv3_1 (Conv2d)"; None outside of all.
    """

    def __init__(self, message: str, op: str, module: str | None) -> None:
        super().__init__(message)
        self.op, self.module = op, module


@contextlib.contextmanager
def detect_anomaly(check_nan: bool = True, check_inf: bool = False) -> Iterator[None]:
    """Inside ``with detect_anomaly():`` the first op that gives NaN raises an error that names it.

    The error names the op, the module that called it, under its path in the model, and whether it
    was the forward or the backward pass; and what the op was given: NaN that was there before (in
    a parameter, say, or in the data), infinity and which op made that first, or finite values
    alone. It covers what this thread runs; both passes must run inside for a backward pass to
    know its module. A NaN that a later op would leave out counts as well. Every value is looked at,
    which takes time: for finding an error, not for training. Works as a decorator too.

    Args:
        check_nan: whether NaN raises; False, with ``check_inf`` False too, looks at nothing.
        check_inf: whether infinity raises, which is often meant: a score of −∞ is a probability
            of 0.

    Raises:
        AnomalyError: inside the block.

    Example:
        >>> import tinyfcn
        >>> x = tinyfcn.tensor([4.0, 0.0], requires_grad=True)
        >>> with tinyfcn.detect_anomaly():
        ...     (x.sqrt() * 0.0).sum().backward()
        Traceback (most recent call last):
        tinyfcn.anomaly.AnomalyError: detect_anomaly: the backward pass of Sqrt, outside of modules,
        gave NaN; what it was given was finite
    """
    unwanted = ["NaN"] * check_nan + ["infinity"] * check_inf
    with _Anomaly(unwanted), np.errstate(all="ignore"):
        yield


class _Anomaly(Hook):
    """Knows which modules run, which of them called each op, and what that was given."""

    def __init__(self, unwanted: Sequence[str]) -> None:
        self._unwanted = unwanted
        self._names: dict[Module | Tensor, str] = {}  # of modules that ran, and of what they hold
        self._running: list[Module] = []  # since the block or a backward pass began, outer first
        self._node: Function | None = None  # whose backward pass it is
        self._callers: WeakKeyDictionary[Function, Module | None] = WeakKeyDictionary()

    def enter(self, module: Module, inputs: Sequence[Any]) -> None:
        if self._running[:1] == [module]:
            self._running.clear()  # an error has left it, and was caught
        named = *module.named_modules(), *module.named_tensors(Tensor)
        inside: dict[Any, str] = {thing: name for name, thing in reversed(named)}  # the first name
        # The outermost module gives the names; one that is made on the way (a slice of it), or
        # computed again for a backward pass, adds those that are new.
        outermost = not (self._running or self._node)
        self._names = self._names | inside if outermost else inside | self._names
        self._running.append(module)

    def leave(self, module: Module, inputs: Sequence[Any], result: Any) -> None:
        while self._running and self._running.pop() is not module:
            pass

    def op(self, function: Function, inputs: Sequence[Any], outputs: tuple[Tensor, ...]) -> None:
        if self._node is not None and not self._running:  # a step of a backward pass
            self._callers[function] = self._callers.get(self._node)
            return
        self._callers[function] = caller = self._running[-1] if self._running else None
        given = [(x, f"input {i}") for i, x in enumerate(inputs)]
        own = {} if caller is None else vars(caller)
        given += [(x, name) for name, x in own.items() if isinstance(x, Tensor)]
        self._look(function, "", given, outputs)

    def backward(self, function: Function, run: Callable[..., Any], *gradients: Any) -> Any:
        outside = self._running, self._node
        self._running, self._node = [], function
        try:
            result = run(*gradients)
        finally:
            self._running, self._node = outside
        found = result if isinstance(result, tuple) else (result,)
        given = [(g, "the gradient that arrived") for g in gradients]
        given += [(x, "what it kept of the forward pass") for x in function.saved_tensors]
        self._look(function, "the backward pass of ", given, found)
        return result

    def _look(
        self, function: Function, way: str, given: list[tuple[Any, str]], results: Sequence[Any]
    ) -> None:
        op, caller, place = type(function).__name__, self._callers.get(function), None
        if caller is not None:
            kind = type(caller).__name__
            place = f"{self._names[caller]} ({kind})" if self._names[caller] else kind
        what = f"{way}{op} in {place}" if place else f"{way}{op}, outside of modules,"
        for result in filter(_fault, results):
            spoilt = [(_fault(x), x, label) for x, label in given if _fault(x)]
            cause = "what it was given was finite"
            vars(result)["origin"] = what  # of infinity: handed on from tensor to tensor
            if spoilt:
                before, x, label = min(spoilt, key=lambda entry: entry[0])
                name = self._names.get(x, label) if isinstance(x, Tensor) else label
                origin = vars(result)["origin"] = getattr(x, "origin", None)
                cause = f"{name} held {before} before" + f", first from {origin}" * bool(origin)
            if (fault := _fault(result)) in self._unwanted:
                message = f"detect_anomaly: {what} gave {fault}; {cause}"
                raise AnomalyError(message, op, place)


def _fault(x: Any) -> str:
    """What an operand holds: "NaN", else "infinity", else nothing of either."""
    data, xp = None if x is None else as_tensor(x).data, backend.active().xp
    if data is None or data.dtype.kind != "f" or isinstance(data, MetaArray):
        return ""
    return "NaN" if xp.isnan(data).any() else "infinity" if xp.isinf(data).any() else ""
