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
from tinyfcn.onnx.rules import CannotExport
from tinyfcn.onnx.sizes import Size
from tinyfcn.summary import without_values
from tinyfcn.tensor import Tensor, no_grad

INPUT = "images"

_one_at_a_time = threading.RLock()  # Function and the backend are the whole process's


class Traced(Tensor):
    """A tensor that an op gave, or the network's input."""

    def __init__(self, data: Any, name: str) -> None:
        super().__init__(data)
        self.name = name
        self.made = _State(data)

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes, each of which knows that it is this tensor's."""
        return tuple(Size(n, ("axis", self.name, i)) for i, n in enumerate(self.data.shape))


class _State:
    """An array as it is now."""

    def __init__(self, data: Any) -> None:
        self.data, self.changes = data, _changes(data)

    def is_that_of(self, tensor: Tensor) -> bool:
        """Whether the tensor has the array still, and nobody has written into it."""
        return tensor.data is self.data and _changes(self.data) == self.changes


def _changes(data: Any) -> int:
    return data.memory.changes if isinstance(data, meta.MetaArray) else 0


class Call(NamedTuple):
    """One op of a layer and what went in and out; inputs may be absent, or plain numbers."""

    layer: str
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
        CannotExport: if what the network does depends on values, or it changes some itself.
        ValueError: if the result is not one tensor; and what the model itself raises.
    """
    known: dict[int, Any] = {}
    with (
        _one_at_a_time, backend.using("meta"), without_values(model), no_grad(),
        _constants_kept(known) as constants,
    ):  # fmt: skip
        tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        kept = {name: _State(tensor.data) for name, tensor in tensors.items()}
        for name, tensor in tensors.items():
            known[id(tensor)] = known[id(tensor.data)] = name
        dtype = next((p.dtype for p in model.parameters()), np.dtype(np.float32))
        images = Traced(meta.empty(tuple(input_size), dtype), INPUT)
        with _written_down(model) as calls:
            try:
                scores = model(images)
            except meta.NoValues as error:
                raise CannotExport(
                    f"onnx: the network looks at the values of tensors, and a file cannot depend "
                    f"on those outside the ops of tinyfcn.functional ({error})"
                ) from error
        for name, state in kept.items():
            if not state.is_that_of(tensors[name]):
                raise CannotExport(f"onnx: the network changes {name} while it runs")
    for tensor in (images, *(t for call in calls for t in call.outputs)):
        if not tensor.made.is_that_of(tensor):
            raise CannotExport("onnx: the network writes into the array of a tensor in place")
    if not isinstance(scores, Traced):
        raise ValueError(
            f"onnx: {type(model).__name__} must give one tensor that it computed from its input, "
            f"but gave {type(scores).__name__}"
        )
    known |= {id(array): value for array, value in constants}
    return Trace(calls, images, scores, known, (kept, constants))


@contextlib.contextmanager
def _written_down(model: Module) -> Iterator[list[Call]]:
    """Every op that this thread calls inside the block."""
    calls: list[Call] = []
    layers = [""]  # those that run now, the innermost last
    names = {id(module): name for name, module in model.named_modules()}
    run, run_module, here = Function.__call__, Module.__call__, threading.get_ident()

    def call_module(module: Module, *inputs: Any, **options: Any) -> Any:
        if threading.get_ident() != here:
            return run_module(module, *inputs, **options)
        layers.append(names.get(id(module), layers[-1]))
        try:
            return run_module(module, *inputs, **options)
        finally:
            layers.pop()

    def call(op: Function, *inputs: Any) -> Any:
        result = run(op, *inputs)
        if threading.get_ident() != here:
            return result
        outputs = result if isinstance(result, tuple) else (result,)
        made = tuple(Traced(t.data, f"{len(calls)}.{i}") for i, t in enumerate(outputs))
        calls.append(Call(layers[-1], op, inputs, made))
        return made if isinstance(result, tuple) else made[0]

    ops: Any = Function
    modules: Any = Module
    ops.__call__, modules.__call__ = call, call_module
    try:
        yield calls
    finally:
        ops.__call__, modules.__call__ = run, run_module


@contextlib.contextmanager
def _constants_kept(known: dict[int, Any]) -> Iterator[list[tuple[Any, Any]]]:
    """The arrays that the backend "meta" makes of numbers inside the block, with these numbers."""
    active: Any = backend.active()
    constants: list[tuple[Any, Any]] = []
    as_array, asarray, result_type = active.as_array, active.xp.asarray, active.xp.result_type

    def plain(data: Any) -> Any:
        return int(data) if isinstance(data, Size) else data

    def remember(data: Any, dtype: Any = None) -> Any:
        number = plain(data)
        array = as_array(number if dtype is None else asarray(number, dtype))
        if isinstance(data, meta.MetaArray):  # not a number, but maybe a parameter's array
            value = known.get(id(data))
        else:
            value = data if isinstance(data, Size) else asarray(number, array.dtype)
        constants.append((array, value))
        return array

    def to_numpy(array: Any) -> Any:
        raise meta.NoValues(f"numpy() of an array of shape {array.shape}")

    active.as_array = remember
    active.to_numpy = to_numpy
    active.xp.asarray = remember
    active.xp.result_type = lambda *kinds: result_type(*map(plain, kinds))
    try:
        yield constants
    finally:
        del active.as_array, active.to_numpy, active.xp.asarray, active.xp.result_type
