"""What a network does, written down while it runs.

The network runs on the backend "meta", where nothing is computed. Every op of the forward pass
becomes a :class:`Call`; the tensors between them have names, and sizes that remember their origin.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyfcn import backend
from tinyfcn.backend import meta
from tinyfcn.function import Function
from tinyfcn.nn import Module
from tinyfcn.onnx.sizes import Size
from tinyfcn.summary import without_values
from tinyfcn.tensor import Tensor, no_grad

INPUT = "images"


class Traced(Tensor):
    """A tensor that an op gave, or the network's input."""

    def __init__(self, data: Any, name: str) -> None:
        super().__init__(data)
        self.name = name

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes, each of which knows that it is this tensor's."""
        return tuple(Size(n, ("axis", self.name, i)) for i, n in enumerate(self.data.shape))


class Call(NamedTuple):
    """One op and what went in and out; inputs may be absent, or plain numbers."""

    op: Function
    inputs: Sequence[Any]
    outputs: Sequence[Traced]


class Trace(NamedTuple):
    """All calls in order.

    Attributes:
        calls: as above.
        images: the network's input.
        scores: its result.
        known: the values of tensors that no op made, by the id of the tensor or of its array:
            the name of a parameter or buffer, or a constant (an array, or a :class:`Size`).
        kept_alive: what these ids belong to.
    """

    calls: Sequence[Call]
    images: Traced
    scores: Traced
    known: dict[int, Any]
    kept_alive: Any


def trace(model: Module, input_size: Sequence[int]) -> Trace:
    """Run ``model`` on images (N, C, H, W) that have no values, in evaluation mode.

    Raises:
        ValueError: if the result is not one tensor; and what the model itself raises.
    """
    with backend.using("meta"), without_values(model), no_grad(), _constants_kept() as constants:
        tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        known: dict[int, Any] = {}
        for name, tensor in tensors.items():
            known[id(tensor)] = known[id(tensor.data)] = name
        dtype = next((p.dtype for p in model.parameters()), np.dtype(np.float32))
        images = Traced(meta.empty(tuple(input_size), dtype), INPUT)
        with _written_down() as calls:
            scores = model(images)
        kept = [(tensor, tensor.data) for tensor in tensors.values()]
    if not isinstance(scores, Traced):
        raise ValueError(
            f"onnx: {type(model).__name__} must give one tensor that it computed from its input, "
            f"but gave {type(scores).__name__}"
        )
    known |= {id(array): value for array, value in constants}
    return Trace(calls, images, scores, known, (kept, constants))


@contextlib.contextmanager
def _written_down() -> Iterator[list[Call]]:
    """Every op that this thread calls inside the block."""
    calls: list[Call] = []
    run, here = Function.__call__, threading.get_ident()

    def call(op: Function, *inputs: Any) -> Any:
        result = run(op, *inputs)
        if threading.get_ident() != here:
            return result
        outputs = result if isinstance(result, tuple) else (result,)
        made = tuple(Traced(t.data, f"{len(calls)}.{i}") for i, t in enumerate(outputs))
        calls.append(Call(op, inputs, made))
        return made if isinstance(result, tuple) else made[0]

    kind: Any = Function
    kind.__call__ = call
    try:
        yield calls
    finally:
        kind.__call__ = run


@contextlib.contextmanager
def _constants_kept() -> Iterator[list[tuple[Any, Any]]]:
    """The arrays that the backend "meta" makes of numbers inside the block, with these numbers."""
    active: Any = backend.active()
    constants: list[tuple[Any, Any]] = []
    as_array, asarray, result_type = active.as_array, active.xp.asarray, active.xp.result_type

    def plain(data: Any) -> Any:
        return int(data) if isinstance(data, Size) else data

    def remember(data: Any, dtype: Any = None) -> Any:
        number = plain(data)
        array = as_array(number if dtype is None else asarray(number, dtype))
        constants.append((array, data if isinstance(data, Size) else asarray(number, array.dtype)))
        return array

    active.as_array = remember
    active.xp.asarray = remember
    active.xp.result_type = lambda *kinds: result_type(*map(plain, kinds))
    try:
        yield constants
    finally:
        del active.as_array, active.xp.asarray, active.xp.result_type
