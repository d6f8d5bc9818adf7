"""Sums, means and maxima over axes, and their adjoint: repeating along an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tinyfcn import backend
from tinyfcn.function import Elementwise, Function
from tinyfcn.functional.selection import Select
from tinyfcn.functional.sizes import axis
from tinyfcn.tensor import Tensor

__all__ = ["amax", "mean", "sum"]

Dims = int | Sequence[int] | None


class Sum(Function):
    """Sum over ``dims`` (kept as size 1); its adjoint is :class:`BroadcastTo`."""

    def __init__(self, dims: tuple[int, ...]) -> None:
        self.dims = dims

    def forward(self, x):
        if x.ndim == 4 and self.dims == (0, 2, 3):
            return backend.active().sum_pixels(x).reshape(1, -1, 1, 1)
        floating = x.dtype.kind == "f"
        return backend.active().sum(x, self.dims) if floating else x.sum(self.dims, keepdims=True)

    def backward(self, gy):
        return broadcast_to(gy, self.input_shapes[0])


class BroadcastTo(Elementwise):
    """Repeat along axes; its adjoint is summing over them."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def forward(self, x):
        return backend.active().xp.broadcast_to(x, self.shape)

    def backward(self, gy):
        return sum_to(gy, self.input_shapes[0])


class Max(Function):
    """Maximum along the axis ``dim`` (kept as size 1), which is the last."""

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, x):
        self.save_for_backward(x)
        return x.max(axis=self.dim, keepdims=True)

    def backward(self, gy):
        (x,) = self.saved_tensors
        xp = backend.active().xp
        is_first = xp.arange(x.shape[self.dim]) == x.data.argmax(self.dim)[..., None]
        return Select()(broadcast_to(gy, x.shape), is_first)


def sum(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Sum over the axes ``dim`` (all of them by default).

    Example:
        >>> import tinyfcn
        >>> tinyfcn.tensor([[1.0, 2.0], [3.0, 4.0]]).sum(dim=0)
        Tensor([4., 6.], dtype=float32)
    """
    dims = _dims("sum", x, dim)
    return Sum(dims)(x).reshape(_reduced(x, dims, keepdim))


def mean(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Mean over the axes ``dim`` (all of them by default)."""
    count = math.prod(x.shape[d] for d in _dims("mean", x, dim))
    return sum(x, dim, keepdim) / count


def amax(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Maximum over the axes ``dim`` (all by default); of equal ones the first has the gradient."""
    dims = _dims("amax", x, dim)
    if 0 in (x.shape[d] for d in dims):
        raise ValueError(f"amax: no elements along axes {dims} of shape {x.shape}")
    others = tuple(d for d in range(x.ndim) if d not in dims)
    kept = tuple(x.shape[d] for d in others)
    # The reduced axes as one, at the end.
    flat = x.permute(*others, *dims).reshape(*kept, math.prod(x.shape[d] for d in dims))
    return Max(len(kept))(flat).reshape(_reduced(x, dims, keepdim))


def broadcast_to(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Repeat ``x`` along axes of size 1 (or missing in front) until it has ``shape``."""
    return x if x.shape == tuple(shape) else BroadcastTo(tuple(shape))(x)


def sum_to(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Sum ``x`` over the axes along which ``shape`` would be repeated to give ``x``'s shape."""
    if x.shape == shape:
        return x
    lead = x.ndim - len(shape)
    dims = tuple(d for d in range(x.ndim) if d < lead or (shape[d - lead] == 1 != x.shape[d]))
    return Sum(dims)(x).reshape(shape)


def _dims(op: str, x: Tensor, dim: Dims) -> tuple[int, ...]:
    """The axes as sorted non-negative numbers."""
    if dim is None:
        return tuple(range(x.ndim))
    dims = tuple(dim) if isinstance(dim, Sequence) else (dim,)
    normal = sorted(axis(op, x, d) for d in dims)
    if len(set(normal)) != len(normal):
        raise ValueError(f"{op}: dim {dims} names an axis twice")
    return tuple(normal)


def _reduced(x: Tensor, dims: tuple[int, ...], keepdim: bool) -> tuple[int, ...]:
    """What is left of the shape of x."""
    return tuple(1 if d in dims else n for d, n in enumerate(x.shape) if keepdim or d not in dims)
