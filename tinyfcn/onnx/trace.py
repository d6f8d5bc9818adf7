"""What a network does, written down while it runs.

The network runs on the backend "meta", where nothing is computed. Every op of the forward pass
becomes a :class:`Call`; the tensors between them have names, and sizes that remember their origin.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyfcn.backend import meta
from tinyfcn.function import Function, Hook
from tinyfcn.nn import Module
from tinyfcn.onnx.rules import CannotExport
from tinyfcn.onnx.sizes import Size
from tinyfcn.tensor import Tensor, no_grad
from tinyfcn.without_values import empty_images, without_values

INPUT = "images"


class Traced(Tensor):
    """A tensor that an op gave, or the network's input."""

    def __init__(self, data: Any, name: str) -> None:
        super().__init__(data)
        self.name = name
        self.made, self._kept = _state(self), data  # kept alive, so that the id stays its own

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes, each of which knows that it is this tensor's."""
        return tuple(Size(n, ("axis", self.name, i)) for i, n in enumerate(self.data.shape))


def _state(tensor: Tensor) -> tuple[int, int]:
    """Which array a tensor has, and how often somebody has written into it."""
    data = tensor.data
    return id(data), data.memory.changes if isinstance(data, meta.MetaArray) else 0


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
    recording = _Recording()
    known = recording.known
    with without_values(model, using=recording), no_grad():
        tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        kept = {name: (_state(tensor), tensor.data) for name, tensor in tensors.items()}
        for name, tensor in tensors.items():
            known[id(tensor)] = known[id(tensor.data)] = name
        images = Traced(empty_images(model, tuple(input_size)).data, INPUT)
        with _Calls(model) as written:
            try:
                scores = model(images)
            except meta.NoValues as error:
                raise CannotExport(
                    f"onnx: the network looks at the values of tensors, and a file cannot depend "
                    f"on those outside the ops of tinyfcn.functional ({error})"
                ) from error
        for name, (state, _) in kept.items():
            if state != _state(tensors[name]):
                raise CannotExport(f"onnx: the network changes {name} while it runs")
    for tensor in (images, *(t for call in written.calls for t in call.outputs)):
        if tensor.made != _state(tensor):
            raise CannotExport("onnx: the network writes into the array of a tensor in place")
    if not isinstance(scores, Traced):
        raise ValueError(
            f"onnx: {type(model).__name__} must give one tensor that it computed from its input, "
            f"but gave {type(scores).__name__}"
        )
    return Trace(written.calls, images, scores, known, (kept, recording))


class _Calls(Hook):
    """Writes down every op of a model."""

    def __init__(self, model: Module) -> None:
        self.calls: list[Call] = []
        self._layers = [""]  # those that run now, the innermost last
        self._names = {id(module): name for name, module in model.named_modules()}

    def enter(self, module: Module, inputs: Sequence[Any]) -> None:
        self._layers.append(self._names.get(id(module), self._layers[-1]))

    def leave(self, module: Module, inputs: Sequence[Any], result: Any) -> None:
        self._layers.pop()

    def op(
        self, function: Function, inputs: Sequence[Any], outputs: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        made = tuple(Traced(t.data, f"{len(self.calls)}.{i}") for i, t in enumerate(outputs))
        self.calls.append(Call(self._layers[-1], function, inputs, made))
        return made


class _Recording(meta.MetaBackend):
    """The backend "meta", knowing the numbers that its arrays are made of."""

    def __init__(self) -> None:
        self.known: dict[int, Any] = {}  # by the id of the array
        self.xp = _RecordingNumpy(self)
        self._arrays: list[Any] = []  # kept alive, so that ids stay theirs

    def as_array(self, data: Any, dtype: Any = None) -> Any:
        number = _plain(data)
        array = super().as_array(number if dtype is None else np.asarray(number, dtype))
        if array is not data:
            is_size = isinstance(data, Size)
            self.known[id(array)] = data if is_size else np.asarray(number, array.dtype)
            self._arrays.append(array)
        return array

    def to_numpy(self, array: Any) -> Any:
        raise meta.NoValues(f"numpy() of an array of shape {array.shape}")


class _RecordingNumpy(meta.MetaNumpy):
    """Its array module."""

    def __init__(self, backend: _Recording) -> None:
        self.asarray = backend.as_array

    @staticmethod
    def result_type(*kinds: Any) -> Any:
        return np.result_type(*map(_plain, kinds))


def _plain(data: Any) -> Any:
    return int(data) if isinstance(data, Size) else data
