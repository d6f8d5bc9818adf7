"""The backend "meta": arrays with a shape and a dtype, but without memory and without values.

Everything runs on it as it always does, in no time: a network can be made and called, and what
comes out has the right shape. That is how ``tinyfcn.summary`` looks at a network that would not fit
into memory. The name is that of PyTorch's device "meta".

An array is a NumPy array of one NaN, or a zero for whole numbers, that all its elements share.
Writing into it does nothing. It carries two facts more, which views inherit: what memory it would
take, and which part of the image its pixels see.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from tinyfcn import backend
from tinyfcn.backend.base import Backend
from tinyfcn.functional.resampling import Adaptive


class Sight(NamedTuple):
    """What the pixels of a map see of the image, along one axis.

    Attributes:
        size: how many pixels of the image one pixel of the map depends on at most; infinite if on
            all of them, however large the image.
        stride: how far apart the windows of neighbouring pixels are, in pixels of the image.
    """

    size: float | Fraction = Fraction(1)
    stride: Fraction = Fraction(1)

    def window(self, span: int, step: int) -> Sight:
        """After a layer whose windows span ``span`` pixels, ``step`` apart."""
        return Sight(self.size + (span - 1) * self.stride, self.stride * step)

    def enlarged(self, span: int, step: int) -> Sight:
        """After the transpose of such a layer, where ⌈span / step⌉ stamps overlap in a pixel."""
        return Sight(self.size + (-(-span // step) - 1) * self.stride, self.stride / step)

    def resampled(self, matrix: Any) -> Sight:
        """After a product with the matrix (OUT, IN): pooling by means, resizing, padding."""
        out, n = matrix.shape
        if out < n and matrix is Adaptive(n, out).matrix():
            return Sight(math.inf, self.stride * Fraction(n, out))  # as large as the image asks for
        used = matrix != 0
        first, last = used.argmax(1), n - 1 - used[:, ::-1].argmax(1)
        steps = abs(np.diff(first)[out // 3 : out - out // 3])  # away from the borders
        regular = steps.size > 0 and steps[0] > 0 and (steps == steps[0]).all()
        step = Fraction(int(steps[0])) if regular else Fraction(n, out)
        span = int((last - first).max()) + 1
        return Sight(self.size + (span - 1) * self.stride, self.stride * step)


class NoValues(ValueError):
    """A network looks at values, to decide what it does next or to compute outside the ops."""


class Memory:
    """What an array would take, and all views of it together.

    Attributes:
        nbytes: its size.
        changes: how often it was written into.
    """

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self.changes = 0


class MetaArray(np.ndarray[Any, Any]):
    """An array that takes no memory; see the head of this file.

    To ask for a value (``bool``, ``float``, ``int``, ``item``, ``tolist``) raises NoValues.

    Attributes:
        memory: the same object for an array and its views.
        sight: of rows and columns, or None if the image could not be followed to here.
    """

    memory: Memory
    sight: tuple[Sight, Sight] | None

    def __array_finalize__(self, origin: Any) -> None:
        self.memory = getattr(origin, "memory", Memory(0))
        self.sight = getattr(origin, "sight", None)

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **options: Any
    ) -> Any:
        if out is not None:
            out[0].memory.changes += 1
            return out[0]
        if ufunc is np.matmul:
            matmul = getattr(backend.active(), "matmul", MetaBackend.matmul)
            return matmul(*inputs)
        sight = seen(inputs)
        if method == "__call__" and ufunc.signature is None:
            ones = [np.ones((), x.dtype) if hasattr(x, "dtype") else x for x in inputs]
            shape = np.broadcast_shapes(*(np.shape(x) for x in inputs))
            return empty(shape, ufunc(*ones, **options).dtype, sight)
        plain = [np.asarray(x) if isinstance(x, MetaArray) else x for x in inputs]
        result = getattr(ufunc, method)(*plain, **options)
        if sight and not {2, 3}.isdisjoint(np.atleast_1d(options.get("axis") or 0)):
            sight = everything(sight)
        return empty(result.shape, result.dtype, sight)

    def __getitem__(self, index: Any) -> Any:
        parts = index if isinstance(index, tuple) else (index,)
        if not any(isinstance(part, np.ndarray | list) for part in parts):
            picked = super().__getitem__(index)
            return picked if isinstance(picked, MetaArray) else empty((), self.dtype, self.sight)
        # Picked here and there: a copy, and no map any more.
        return empty(np.broadcast_to(np.False_, self.shape)[index].shape, self.dtype)

    def __setitem__(self, index: Any, value: Any) -> None:
        self.sight = seen([self, value])
        self.memory.changes += 1

    def __deepcopy__(self, memo: Any) -> MetaArray:
        return self.copy()

    def astype(self, dtype: Any, *_: Any, **__: Any) -> MetaArray:
        return empty(self.shape, dtype, self.sight)

    def copy(self, order: Any = "C") -> MetaArray:
        return empty(self.shape, self.dtype, self.sight)

    def __pow__(self, exponent: Any) -> Any:  # type: ignore[override]
        return np.power(self, exponent)  # older NumPy looks at the exponent first

    def argmax(self, axis: Any = None, *_: Any, **__: Any) -> MetaArray:  # type: ignore[override]
        kept = () if axis is None else np.delete(self.shape, axis)
        return empty(tuple(map(int, kept)), np.int64, self.sight)

    argmin = argmax  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"MetaArray({self.shape}, {self.dtype})"

    def _value(self, *_: Any) -> Any:
        raise NoValues(
            f"backend: 'meta' computes no values, but the network asks for one of an "
            f"array of shape {self.shape}"
        )

    __bool__ = __float__ = __int__ = __index__ = __complex__ = item = tolist = _value


def empty(shape: Any, dtype: Any, sight: tuple[Sight, Sight] | None = None) -> MetaArray:
    """A new array."""
    dtype = np.dtype(dtype)
    shared = np.broadcast_to(np.array(np.nan if dtype.kind == "f" else 0, dtype), shape)
    array = shared.view(MetaArray)
    array.memory, array.sight = Memory(shared.nbytes), sight
    return array


def seen(arrays: Iterable[Any]) -> tuple[Sight, Sight] | None:
    """What is seen by pixels that are computed from those of several maps: the most of each.

    Maps that meet have the same stride, but for those that are one value for the whole image.
    """
    sights = [s for s in (getattr(x, "sight", None) for x in arrays) if s]
    if not sights:
        return None
    rows, columns = (
        Sight(max(s.size for s in axis), min(s.stride for s in axis))
        for axis in zip(*sights, strict=True)
    )
    return rows, columns


def everything(sight: tuple[Sight, Sight]) -> tuple[Sight, Sight]:
    """The whole image, however large."""
    rows, columns = sight
    return Sight(math.inf, rows.stride), Sight(math.inf, columns.stride)


class _Numpy:
    """The functions of NumPy, those that would take memory for themselves replaced."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    @staticmethod
    def full(shape: Any, value: Any, dtype: Any = np.float64) -> MetaArray:
        return empty(shape, dtype)

    @staticmethod
    def zeros(shape: Any, dtype: Any = np.float64) -> MetaArray:
        return empty(shape, dtype)

    empty = ones = zeros

    @staticmethod
    def broadcast_to(x: Any, shape: Any) -> MetaArray:
        return empty(shape, x.dtype, seen([x]))

    @staticmethod
    def concatenate(arrays: Any, axis: int = 0) -> MetaArray:
        shape = list(arrays[0].shape)
        shape[axis] = sum(x.shape[axis] for x in arrays)
        return empty(shape, arrays[0].dtype, seen(arrays))


def _same(x: Any) -> MetaArray:
    return empty(x.shape, x.dtype, seen([x]))


def _like_first(self: Any, x: Any, *_: Any) -> MetaArray:
    return _same(x)


_like: Any = _like_first


class MetaBackend(Backend):
    """The primitives of :mod:`tinyfcn.backend.base`, as far as shapes go."""

    name = "meta"
    xp = _Numpy()
    eager = False  # there are no values to look at

    def as_array(self, data: Any) -> MetaArray:
        array = np.asarray(data)
        if array.dtype == np.float64 and not isinstance(data, np.ndarray | np.generic):
            return empty(array.shape, np.float32)
        return empty(array.shape, array.dtype, seen([data]))

    # ---- convolution, and matrix products, which are NumPy's own elsewhere ----

    def conv2d(self, x, weight, bias, stride, padding, dilation, groups, relu=False):
        kernel = weight.shape[2:]
        size = [
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(x.shape[2:], kernel, stride, padding, dilation, strict=True)
        ]
        shape = (x.shape[0], weight.shape[0], *size)
        return empty(shape, x.dtype, _windows(x, kernel, stride, dilation))

    def conv2d_input_grad(self, gy, weight, bias, size, stride, padding, dilation, groups):
        shape = (gy.shape[0], weight.shape[1] * groups, *size)
        return empty(shape, gy.dtype, _enlarged(gy, weight.shape[2:], stride, dilation))

    def conv2d_weight_grad(self, x, gy, kernel, stride, padding, dilation, groups):
        return empty((gy.shape[1], x.shape[1] // groups, *kernel), x.dtype)

    def sum_pixels(self, x):
        return empty((x.shape[1],), x.dtype)

    @staticmethod
    def matmul(a, b):
        sight = seen([a, b])
        shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
        return empty(shape, np.result_type(a, b), sight and everything(sight))

    # ---- pooling, unpooling, resampling ----

    def max_pool2d(self, x, size, kernel, stride, padding, dilation, indices):
        sight = _windows(x, kernel, stride, dilation)
        shape = (*x.shape[:2], *size)
        where = empty(shape, np.int32, sight) if indices else None
        return empty(shape, x.dtype, sight), where

    def scatter_plane(self, x, indices, size, kernel, stride, padding, dilation):
        return empty((*x.shape[:2], *size), x.dtype, _enlarged(x, kernel, stride, dilation))

    def gather_plane(self, x, indices):
        return empty(indices.shape, x.dtype, seen([x]))

    def resample2d(self, x, rows, columns):
        sight = seen([x])
        if sight:
            sight = sight[0].resampled(rows), sight[1].resampled(columns)
        return empty((*x.shape[:2], rows.shape[0], columns.shape[0]), x.dtype, sight)

    # ---- element by element ----

    relu = relu_grad = softmax = log_softmax = dropout = _like
    local_response_norm = local_response_norm_grad = _like

    def batch_norm(self, x, mean, invstd, weight, bias, relu=False):
        return _same(x)

    def batch_norm_stats(self, x):
        return empty((x.shape[1],), x.dtype), empty((x.shape[1],), x.dtype)

    def batch_norm_grad(self, gy, x, mean, invstd, weight, share, y=None):
        return _same(x), _same(mean), _same(mean)

    # ---- losses and optimizers ----

    def cross_entropy(self, x, labels):
        return empty((x.shape[0], *x.shape[2:]), x.dtype)

    take_class = cross_entropy

    def cross_entropy_grad(self, gy, x, labels):
        return _same(x)

    def put_class(self, values, labels, classes):
        return empty((values.shape[0], classes, *values.shape[1:]), values.dtype)

    def sgd_update(self, *_):
        pass

    adam_update = sgd_update


def _windows(x: Any, kernel: Any, stride: Any, dilation: Any) -> tuple[Sight, Sight] | None:
    sight = seen([x])
    if sight is None:
        return None
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    return sight[0].window(spans[0], stride[0]), sight[1].window(spans[1], stride[1])


def _enlarged(x: Any, kernel: Any, stride: Any, dilation: Any) -> tuple[Sight, Sight] | None:
    sight = seen([x])
    if sight is None:
        return None
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    return sight[0].enlarged(spans[0], stride[0]), sight[1].enlarged(spans[1], stride[1])
