"""What a network does, written down while it runs.

The network runs on the backend "meta", where nothing is computed. Every op of the forward pass
becomes a :class:`Call`; the tensors between them have names, and sizes that remember their origin.

Every array whose values are known knows them as its ``source``: a :class:`Traced` tensor, the name
of a parameter or buffer, or a constant (a NumPy array, or a :class:`Size`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyfcn import backend
from tinyfcn.backend import meta
from tinyfcn.function import Function, Hook, as_tensor
from tinyfcn.nn import Module
from tinyfcn.onnx.sizes import Size
from tinyfcn.tensor import Tensor
from tinyfcn.without_values import empty_images, without_values

INPUT = "images"


class CannotExport(ValueError):
    """ONNX has no operators for something, or not for images of every size."""


class Traced(Tensor):
    """A tensor that an op gave, or the network's input."""

    def __init__(self, data: Any, name: str) -> None:
        super().__init__(data)
        self.name = name
        self.made, self.changes = data, data.memory.changes
        data.source = self

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes, each of which knows that it is this tensor's."""
        return tuple(Size(n, "axis", self, i) for i, n in enumerate(self.data.shape))


def _is_kept(tensor: Tensor, array: Any, changes: int = 0) -> bool:
    """Whether a tensor still has its array, and nobody has written into that."""
    return array.memory.changes == changes and tensor.data is array


class Call(NamedTuple):
    """One op of a layer and the arrays that went in, of which some may be absent; what came out."""

    layer: str
    op: Function
    inputs: Sequence[Any]
    outputs: Sequence[Traced]


class Trace(NamedTuple):
    """All calls in order; the network's input, its result, and all tensors, the input first."""

    calls: Sequence[Call]
    images: Traced
    scores: Traced
    tensors: Sequence[Traced]


def trace(model: Module, input_size: Sequence[int]) -> Trace:
    """Run ``model`` on images (N, C, H, W) that have no values, in evaluation mode.

    Raises:
        CannotExport: if what the network does depends on values, or it changes some itself.
        ValueError: if the result is not one tensor; and what the model itself raises.
    """
    with without_values(model, using=_Recording()):
        own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        arrays: dict[str, Any] = {name: tensor.data for name, tensor in own.items()}
        for name, array in arrays.items():
            array.source = name
        images = Traced(empty_images(model, tuple(input_size)).data, INPUT)
        with _Calls(model) as written:
            try:
                scores = model(images)
            except meta.NoValues as error:
                raise CannotExport(
                    f"onnx: the network looks at the values of tensors, and a file cannot depend "
                    f"on those outside the ops of tinyfcn.functional ({error})"
                ) from error
        for name, array in arrays.items():
            if not _is_kept(own[name], array):
                raise CannotExport(f"onnx: the network changes {name} while it runs")
    tensors = [images, *(tensor for call in written.calls for tensor in call.outputs)]
    if not all(_is_kept(tensor, tensor.made, tensor.changes) for tensor in tensors):
        raise CannotExport("onnx: the network writes into the array of a tensor in place")
    if not isinstance(scores, Traced):
        raise ValueError(
            f"onnx: {type(model).__name__} must give one tensor that it computed from its input, "
            f"but gave {type(scores).__name__}"
        )
    return Trace(written.calls, images, scores, tensors)


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
        arrays = [None if x is None else as_tensor(x).data for x in inputs]
        made = tuple(
            Traced(backend.active().as_array(t.data), f"{len(self.calls)}.{i}")
            for i, t in enumerate(outputs)
        )
        self.calls.append(Call(self._layers[-1], function, arrays, made))
        return made


class _RecordingNumpy(meta.MetaNumpy):
    """The array module of the following."""

    @staticmethod
    def asarray(data: Any, dtype: Any = None) -> Any:
        return _Recording().as_array(data, dtype)

    @staticmethod
    def result_type(*kinds: Any) -> Any:
        return np.result_type(*(int(kind) if isinstance(kind, Size) else kind for kind in kinds))


class _Recording(meta.MetaBackend):
    """The backend "meta"; arrays that are made of numbers have these as their source."""

    xp = _RecordingNumpy()

    def as_array(self, data: Any, dtype: Any = None) -> Any:
        array: Any = super().as_array(data if dtype is None else np.asarray(data, dtype))
        if array is not data:
            is_size = isinstance(data, Size)
            array.source = data if is_size else np.asarray(data, array.dtype)
        return array

    def to_numpy(self, array: Any) -> Any:
        raise meta.NoValues(f"numpy() of an array of shape {array.shape}")
