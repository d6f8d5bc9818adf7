"""Unpooling: put pooled values back into a larger plane.

Max pooling gives, beside its values, the index of each maximum in the plane. Two linear maps use
such indices, and each is the backward pass of the other:

    op             forward                          backward
    ScatterPlane   y[index[i]] += x[i], else 0      gx[i] = gy[index[i]]
    GatherPlane    y[i] = x[index[i]]               gx[index[i]] += gy[i]

Max unpooling *is* ScatterPlane, and so is the backward pass of max pooling. Unpooling without
indices, which treats every pixel alike, is resampling by fixed matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tinyfcn import backend
from tinyfcn.function import Function, as_tensor
from tinyfcn.functional.resampling import Axis, Nearest, Resample2d, Spread
from tinyfcn.functional.sizes import Pair, conv_transpose_size, images, pair
from tinyfcn.tensor import Tensor

__all__ = ["max_unpool2d", "unpool_bed_of_nails", "unpool_nearest"]


class PoolWindow(NamedTuple):
    """How a pooling window slides; each is (height, width)."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair


class ScatterPlane(Function):
    """(N, C, OH, OW) and indices → (N, C, H, W): zeros, with each value added at its index."""

    def __init__(self, size: Pair, window: PoolWindow, own: bool = False) -> None:
        self.size, self.own = size, own
        self.window = window  # where the indices are expected, for speed; are, if they are its own

    def forward(self, x, indices):
        self.save_for_backward(indices)
        return backend.active().scatter_plane(x, indices, self.size, *self.window, self.own)

    def backward(self, gy):
        (indices,) = self.saved_tensors
        return GatherPlane(self.window)(gy, indices), None


class GatherPlane(Function):
    """(N, C, H, W) and indices → (N, C, OH, OW): the values that stand at the indices."""

    def __init__(self, window: PoolWindow) -> None:
        self.window = window

    def forward(self, x, indices):
        self.save_for_backward(indices)
        return backend.active().gather_plane(x, indices)

    def backward(self, gy):
        (indices,) = self.saved_tensors
        return ScatterPlane(self.input_shapes[0][2:], self.window)(gy, indices), None


def max_unpool2d(
    x: Tensor,
    indices: Tensor,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    output_size: Any = None,
) -> Tensor:
    """Put each value at the place where max pooling found it; everything else is 0.

    y[n, c].flat[indices[n, c, i, j]] += x[n, c, i, j]: a sum where windows overlap and two of them
    had the same maximum, so that it is exactly the adjoint of gathering (Zeiler and Fergus 2014;
    Badrinarayanan et al. 2017, SegNet, section III).

    Args:
        x: (N, C, OH, OW).
        indices: integers of the same shape, as ``max_pool2d(…, return_indices=True)`` gives them:
            h · W + w in the plane of the result.
        kernel_size: of the pooling; here and below one number or (height, width).
        stride: of the pooling; by default the kernel_size.
        padding: of the pooling.
        output_size: (H, W), or the whole shape (N, C, H, W). Pooling maps several sizes to one, so
            say which one to return to where it is not the default: (OH − 1)·SH − 2·PH + KH. It may
            differ from that by less than the stride.

    Returns:
        (N, C, H, W).

    Raises:
        ValueError: where shapes do not fit or an index lies outside the result's plane.
        TypeError: where indices are not integers.

    Example:
        >>> import tinyfcn
        >>> from tinyfcn.functional import max_pool2d
        >>> y, indices = max_pool2d(tinyfcn.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), 2,
        ...                         return_indices=True)
        >>> max_unpool2d(y, indices, 2)
        Tensor([[[[0., 0.],
                 [0., 4.]]]], dtype=float32)
    """
    op = "max_unpool2d"
    x, indices = images(op, x), as_tensor(indices)
    kernel = pair(op, "kernel_size", kernel_size, minimum=1)
    steps = pair(op, "stride", kernel if stride is None else stride, minimum=1)
    margin = pair(op, "padding", padding, minimum=0)
    if indices.dtype.kind not in "iu":
        raise TypeError(f"{op}: indices must be integers, got {indices.dtype}")
    if indices.shape != x.shape:
        raise ValueError(f"{op}: indices have shape {indices.shape}, but x has {x.shape}")
    size = _unpooled_size(op, x.shape, kernel, steps, margin, output_size)
    if indices.size and backend.active().eager:
        first, last = int(indices.data.min()), int(indices.data.max())
        if not 0 <= first <= last < size[0] * size[1]:
            raise ValueError(
                f"{op}: indices must lie in 0 … {size[0] * size[1] - 1}, the plane of the output "
                f"size {size}; got {first} … {last}"
            )
    return ScatterPlane(size, PoolWindow(kernel, steps, margin, (1, 1)))(x, indices)


def _unpooled_size(
    op: str, shape: tuple[int, ...], kernel: Pair, stride: Pair, padding: Pair, output_size: Any
) -> Pair:
    axes = zip(shape[2:], kernel, stride, padding, strict=True)
    default = tuple(conv_transpose_size(*axis, d=1, output_padding=0) for axis in axes)
    if output_size is None:
        size = default
    else:
        if isinstance(output_size, tuple | list) and len(output_size) == 4:
            if tuple(output_size[:2]) != shape[:2]:
                raise ValueError(
                    f"{op}: output_size {tuple(output_size)} has other images or channels than "
                    f"x {shape}"
                )
            output_size = output_size[2:]
        size = pair(op, "output_size", output_size, minimum=1)
    for n, usual, s in zip(size, default, stride, strict=True):
        if not usual - s < n < usual + s:
            raise ValueError(
                f"{op}: output_size must differ from the default {default} by less than the "
                f"stride {stride}, got {size}"
            )
    if min(size) < 1:
        raise ValueError(f"{op}: padding {padding} leaves an output of size {size}, x {shape}")
    return size[0], size[1]


def unpool_nearest(x: Tensor, factor: int | Pair) -> Tensor:
    """Repeat every pixel FH × FW times: y[n, c, h, w] = x[n, c, ⌊h / FH⌋, ⌊w / FW⌋].

    Args:
        x: (N, C, H, W).
        factor: one number or (FH, FW).

    Returns:
        (N, C, H · FH, W · FW).

    Raises:
        ValueError, TypeError: naming the argument that does not fit.

    Example:
        >>> import tinyfcn
        >>> unpool_nearest(tinyfcn.tensor([[[[1.0, 2.0]]]]), 2)
        Tensor([[[[1., 1., 2., 2.],
                 [1., 1., 2., 2.]]]], dtype=float32)
    """
    return _unpool("unpool_nearest", x, factor, lambda n, f: Nearest(n, n * f))


def unpool_bed_of_nails(x: Tensor, factor: int | Pair) -> Tensor:
    """Put every pixel at the top left of a cell of zeros: y[n, c, h · FH, w · FW] = x[n, c, h, w].

    Args:
        x: (N, C, H, W).
        factor: one number or (FH, FW).

    Returns:
        (N, C, H · FH, W · FW).

    Raises:
        ValueError, TypeError: naming the argument that does not fit.

    Example:
        >>> import tinyfcn
        >>> unpool_bed_of_nails(tinyfcn.tensor([[[[1.0, 2.0]]]]), 2)
        Tensor([[[[1., 0., 2., 0.],
                 [0., 0., 0., 0.]]]], dtype=float32)
    """
    return _unpool("unpool_bed_of_nails", x, factor, Spread)


def _unpool(op: str, x: Tensor, factor: Any, axis: Callable[[int, int], Axis]) -> Tensor:
    """A pixel becomes a cell of FH × FW pixels: what that means along an axis is resampling."""
    x = images(op, x)
    factors = pair(op, "factor", factor, minimum=1)
    rows, columns = (axis(n, f) for n, f in zip(x.shape[2:], factors, strict=True))
    return Resample2d(rows, columns)(x)
