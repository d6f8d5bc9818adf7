"""The backend "meta": arrays with a shape and a dtype, but without memory and without values.

Everything runs on it as it always does, in no time: a network can be made and called, and what
comes out has the right shape. That is how ``tinyfcn.summary`` looks at a network that would not fit
into memory. The name is that of PyTorch's device "meta".

An array is a NumPy array of one NaN, or a zero for integers, that all its elements share. Writing
into it does nothing. The plain bodies of the base run on such arrays, since NumPy hands what it is
asked to do with them to :class:`MetaArray`; only loops and large intermediates are short cut here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyfcn.backend.base import Backend, conv_sizes


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
        origin: the arrays from which it was computed element by element: none for a constant; None
            where that is not known.
    """

    memory: Memory
    origin: tuple[Any, ...] | None

    def __array_finalize__(self, other: Any) -> None:
        self.memory = getattr(other, "memory", None) or Memory(0)
        self.origin = None

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **options: Any
    ) -> Any:
        written = inputs[0] if method == "at" else out and out[0]
        if written is not None:
            written.memory.changes += 1
            return written
        if method == "__call__" and ufunc is np.matmul and min(map(np.ndim, inputs)) > 1:
            a, b = inputs
            leading = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
            return empty((*leading, a.shape[-2], b.shape[-1]), np.result_type(a, b))
        if method == "__call__" and ufunc.signature is None and ufunc.nout == 1:
            ones = [np.ones((), x.dtype) if hasattr(x, "dtype") else x for x in inputs]
            shape = np.broadcast_shapes(*map(np.shape, inputs))
            return empty(shape, ufunc(*ones, **options).dtype, inputs)
        return _meta(getattr(ufunc, method)(*_plain(inputs), **options))

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        plain = {name: _plain(value) for name, value in options.items()}
        made = _meta(function(*_plain(args), **plain))
        if isinstance(made, MetaArray) and all(map(_is_constant, (args, *options.values()))):
            made.origin = ()
        return made

    def __getitem__(self, index: Any) -> Any:
        parts = index if isinstance(index, tuple) else (index,)
        if any(isinstance(part, np.ndarray | list) for part in parts):  # a copy, not a view
            # With a last axis of no elements, nothing but the shape is found.
            nothing = np.broadcast_to(self.dtype.type(0), (*self.shape, 0))
            last = (slice(None),) * any(part is Ellipsis for part in parts)
            return empty(nothing[(*_plain(parts), *last)].shape[:-1], self.dtype)
        picked = super().__getitem__(index)
        return picked if isinstance(picked, MetaArray) else empty((), self.dtype)

    def __setitem__(self, index: Any, value: Any) -> None:
        self.memory.changes += 1

    def view(self, *kind: Any) -> Any:  # type: ignore[override]
        made = super().view(*kind)
        if not kind:
            made.origin = (self,)
        return made

    def astype(self, dtype: Any, *_: Any, **__: Any) -> MetaArray:
        return empty(self.shape, dtype, (self,))

    def copy(self, *_: Any, **__: Any) -> MetaArray:
        return self.astype(self.dtype)

    __deepcopy__ = copy

    def __pow__(self, exponent: Any) -> Any:  # type: ignore[override]
        return np.power(self, exponent)  # older NumPy looks at the exponent first

    def argmax(self, axis: Any = None, *_: Any, **__: Any) -> MetaArray:  # type: ignore[override]
        kept = () if axis is None else np.delete(self.shape, axis)
        return empty(tuple(map(int, kept)), np.int64)

    argmin = argmax  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"MetaArray({self.shape}, {self.dtype})"

    def _value(self, *_: Any) -> Any:
        raise NoValues(
            f"backend: 'meta' computes no values, but the network asks for one of an "
            f"array of shape {self.shape}"
        )

    __bool__ = __float__ = __int__ = __index__ = __complex__ = item = tolist = _value


def empty(shape: Any, dtype: Any, origin: tuple[Any, ...] | None = None) -> MetaArray:
    """A new array."""
    dtype = np.dtype(dtype)
    shared = np.broadcast_to(np.array(np.nan if dtype.kind == "f" else 0, dtype), shape)
    array = shared.view(MetaArray)
    array.memory, array.origin = Memory(shared.nbytes), origin
    return array


def has_values(data: Any) -> bool:
    """Whether an array, a number or None is a constant: a NaN may come from an array of this
    backend that NumPy was asked for."""
    return np.asarray(data).dtype.kind != "f" or not np.isnan(data).any()


def _plain(value: Any) -> Any:
    """Arguments with NumPy's own arrays, of the same shapes."""
    if isinstance(value, tuple | list):
        return type(value)(map(_plain, value))
    return np.asarray(value) if isinstance(value, MetaArray) else value


def _is_constant(value: Any) -> bool:
    """Whether nothing in it was computed from other arrays than constants, as far as is known."""
    if isinstance(value, tuple | list):
        return all(map(_is_constant, value))
    if not isinstance(value, MetaArray):
        return True
    return value.origin is not None and not value.memory.changes and _is_constant(value.origin)


def _meta(result: Any) -> Any:
    """The shape and the dtype of what NumPy gave."""
    if isinstance(result, tuple | list):
        return type(result)(map(_meta, result))
    return empty(result.shape, result.dtype) if hasattr(result, "dtype") else result


class MetaNumpy:
    """The functions of NumPy; new arrays take no memory."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    @staticmethod
    def zeros(shape: Any, dtype: Any = np.float64) -> MetaArray:
        return empty(shape, dtype, ())

    empty = ones = zeros

    @staticmethod
    def full(shape: Any, value: Any, dtype: Any = np.float64) -> MetaArray:
        return empty(shape, dtype, ())


class MetaBackend(Backend):
    """The primitives, as far as shapes go."""

    name = "meta"
    xp: Any = MetaNumpy()
    eager = False  # there are no values to look at

    def as_array(self, data: Any) -> MetaArray:
        if isinstance(data, MetaArray):
            return data
        array = Backend().as_array(data)
        return empty(array.shape, array.dtype, () if has_values(array) else None)

    def concat(self, arrays, axis):
        size = sum(x.shape[axis] for x in arrays)
        shape = (*arrays[0].shape[:axis], size, *arrays[0].shape[axis + 1 :])
        return empty(shape, np.result_type(*arrays))

    def conv2d(self, x, weight, bias, stride, padding, dilation, groups, relu=False):
        size = conv_sizes(x.shape[2:], weight.shape[2:], stride, padding, dilation)
        return empty((x.shape[0], weight.shape[0], *size), x.dtype)

    def conv2d_input_grad(self, gy, weight, bias, size, stride, padding, dilation, groups):
        return empty((gy.shape[0], weight.shape[1] * groups, *size), gy.dtype)

    def max_pool2d(self, x, size, kernel, stride, padding, dilation, indices):
        shape = (*x.shape[:2], *size)
        kind = np.int32 if x.shape[2] * x.shape[3] < 2**31 else np.int64
        return empty(shape, x.dtype), empty(shape, kind) if indices else None

    def resample2d(self, x, rows, columns):
        return empty((*x.shape[:2], len(rows), len(columns)), x.dtype)

    def dropout(self, x, p, seed):
        return empty(x.shape, x.dtype)
