"""Ops that move elements without computing: reshape, permute, index, concatenate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

from tinyfcn import backend
from tinyfcn.function import Function
from tinyfcn.functional.sizes import axis
from tinyfcn.tensor import Tensor

__all__ = ["cat", "flatten", "getitem", "permute", "reshape", "transpose"]


class Reshape(Function):
    """The same elements in another shape; its adjoint is the reshape back."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def forward(self, x):
        return x.reshape(self.shape)

    def backward(self, gy):
        return reshape(gy, self.input_shapes[0])


class Permute(Function):
    """Axes in another order; its adjoint is the inverse order."""

    def __init__(self, dims: tuple[int, ...]) -> None:
        self.dims = dims

    def forward(self, x):
        return x.transpose(self.dims)

    def backward(self, gy):
        inverse = sorted(range(len(self.dims)), key=self.dims.__getitem__)
        return permute(gy, tuple(inverse))


class GetItem(Function):
    """Pick elements; its adjoint is :class:`PutItem`."""

    def __init__(self, index: Any) -> None:
        self.index = index

    def forward(self, x):
        return x[self.index]

    def backward(self, gy):
        if gy.shape == self.input_shapes[0] and all(_is_forward(part) for part in self.index):
            return gy  # nothing was cut off, so there are no zeros to put it into
        return PutItem(self.index, self.input_shapes[0])(gy)


class PutItem(Function):
    """Put elements into zeros; those that meet in one place are summed."""

    def __init__(self, index: Any, shape: tuple[int, ...]) -> None:
        self.index = index
        self.shape = shape

    def forward(self, gy):
        basic = _is_basic(self.index)  # else many may meet in one place
        y = backend.active().zeros(self.shape, gy.dtype if basic else "float64")
        if basic:
            y[self.index] = gy
        else:
            backend.active().xp.add.at(y, self.index, gy)
        return y.astype(gy.dtype, copy=False)

    def backward(self, gy):
        return GetItem(self.index)(gy)


class Cat(Function):
    """Tensors joined along an axis; its adjoint is cutting them apart."""

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, *xs):
        return backend.active().concat(xs, self.dim)

    def backward(self, gy):
        ends = accumulate((shape[self.dim] for shape in self.input_shapes), initial=0)
        before = (slice(None),) * self.dim
        return tuple(
            gy[(*before, slice(*part))] if needed else None
            for part, needed in zip(pairwise(ends), self.needs_input_grad, strict=True)
        )


def reshape(x: Tensor, shape: Sequence[int]) -> Tensor:
    """The same elements, in order, in another shape; one size may be −1.

    Raises:
        ValueError: if the number of elements differs.
        TypeError: if a size is not an integer.
    """
    try:
        shape = tuple(n.__index__() for n in shape)
    except AttributeError:
        raise TypeError(f"reshape: shape must be integers, got {tuple(shape)}") from None
    if x.shape == shape:
        return x
    known = math.prod(n for n in shape if n != -1)
    fits = x.size == known if -1 not in shape else known > 0 and x.size % known == 0
    if not fits or shape.count(-1) > 1:
        raise ValueError(f"reshape: {x.size} elements of shape {x.shape} do not fit {shape}")
    return Reshape(shape)(x)


def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Join the axes ``start_dim … end_dim`` (inclusive) into one."""
    start = axis("flatten", x, start_dim, "start_dim")
    end = axis("flatten", x, end_dim, "end_dim")
    if start > end:
        raise ValueError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    joined = math.prod(x.shape[start : end + 1])
    return reshape(x, x.shape[:start] + (joined,) + x.shape[end + 1 :])


def permute(x: Tensor, dims: Sequence[int]) -> Tensor:
    """Reorder the axes: axis i of the result is axis ``dims[i]`` of ``x``."""
    normal = tuple(d % x.ndim if -x.ndim <= d < x.ndim else d for d in dims)
    if sorted(normal) != list(range(x.ndim)):
        raise ValueError(f"permute: dims {tuple(dims)} do not name each axis of {x.shape} once")
    return Permute(normal)(x)


def transpose(x: Tensor, dim0: int, dim1: int) -> Tensor:
    """Swap two axes."""
    dim0, dim1 = axis("transpose", x, dim0), axis("transpose", x, dim1)
    dims = list(range(x.ndim))
    dims[dim0], dims[dim1] = dims[dim1], dims[dim0]
    return Permute(tuple(dims))(x)


def getitem(x: Tensor, index: Any) -> Tensor:
    """``x[index]`` as in NumPy; gradients of elements picked more than once are summed."""
    parts = index if isinstance(index, tuple) else (index,)
    plain = tuple(part.data if isinstance(part, Tensor) else part for part in parts)
    return GetItem(plain)(x)


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join tensors along an existing axis.

    Raises:
        ValueError: if there are none, or their other axes differ.

    Example:
        >>> import tinyfcn
        >>> a, b = tinyfcn.tensor([1.0]), tinyfcn.tensor([2.0, 3.0])
        >>> cat([a, b])
        Tensor([1., 2., 3.], dtype=float32)
    """
    tensors = list(tensors)
    if not tensors:
        raise ValueError("cat: needs at least one tensor")
    first, dim = tensors[0].shape, axis("cat", tensors[0], dim)
    for position, t in enumerate(tensors):
        same = [m == n or d == dim for d, (m, n) in enumerate(zip(first, t.shape, strict=False))]
        if t.ndim != len(first) or not all(same):
            raise ValueError(
                f"cat: tensors[{position}] has shape {t.shape}, which differs from {first} "
                f"in more than axis {dim}"
            )
    return Cat(dim)(*tensors)


def _is_forward(part: Any) -> bool:
    return isinstance(part, slice) and (part.step or 1) > 0


def _is_basic(index: tuple[Any, ...]) -> bool:
    """Whether the index picks every element at most once (numbers, slices, None, Ellipsis)."""
    return all(part is None or part is Ellipsis or isinstance(part, int | slice) for part in index)


def full_index(index: tuple[Any, ...], ndim: int) -> list[Any]:
    """An index with a part for every axis, in place of an Ellipsis or of what is left out.

    Example:
        >>> full_index((0, ..., None), 3)
        [0, slice(None, None, None), slice(None, None, None), None]
    """
    parts = list(index)
    given = sum(part is not None and part is not Ellipsis for part in parts)
    at = next((i for i, part in enumerate(parts) if part is Ellipsis), len(parts))
    parts[at : at + 1] = [slice(None)] * (ndim - given)
    return parts
