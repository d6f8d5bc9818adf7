"""Max and average pooling.

Max pooling hands each gradient to the place its value came from: its backward pass is unpooling
(``unpooling.py``). Average pooling is linear and separable, so it is one matrix for the rows and
one for the columns (``resampling.py``).
"""

from __future__ import annotations

from typing import Any, Literal, overload

from tinyfcn import backend
from tinyfcn.function import Function
from tinyfcn.functional.resampling import Adaptive, Average, Resample2d
from tinyfcn.functional.sizes import Pair, images, pair, pool_size
from tinyfcn.functional.unpooling import PoolWindow, ScatterPlane
from tinyfcn.tensor import Tensor, is_grad_enabled

__all__ = ["adaptive_avg_pool2d", "avg_pool2d", "max_pool2d"]


class MaxPool2d(Function):
    """The maxima of the windows, and where they are; the gradient goes there and nowhere else."""

    def __init__(self, window: PoolWindow, ceil_mode: bool, return_indices: bool) -> None:
        self.window = window
        self.ceil_mode = ceil_mode
        self.return_indices = return_indices

    def forward(self, x):
        need_indices = self.return_indices or (is_grad_enabled() and self.needs_input_grad[0])
        axes = zip(x.shape[2:], *self.window, strict=True)
        oh, ow = (pool_size(*axis, self.ceil_mode) for axis in axes)
        y, indices = backend.active().max_pool2d(x, (oh, ow), *self.window, need_indices)
        self.save_for_backward(indices)
        return (y, indices) if self.return_indices else y

    def backward(self, gy, _=None):
        (indices,) = self.saved_tensors
        return ScatterPlane(self.input_shapes[0][2:], self.window, own=True)(gy, indices)


@overload
def max_pool2d(
    x: Tensor, kernel_size: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0,
    dilation: int | Pair = 1, ceil_mode: bool = False, return_indices: Literal[False] = False,
) -> Tensor:  # fmt: skip
    """The maxima alone."""


@overload
def max_pool2d(
    x: Tensor, kernel_size: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0,
    dilation: int | Pair = 1, ceil_mode: bool = False, *, return_indices: Literal[True],
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The maxima, and the index of each."""


def max_pool2d(
    x: Tensor,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of every window.

    y[n, c, i, j] = max over h, w of x[n, c, i·SH − PH + h·DH, j·SW − PW + w·DW]; x is −∞ outside
    the image. Of equal maxima the first in reading order counts; a NaN in a window wins.

    Args:
        x: (N, C, H, W).
        kernel_size: window size; here and below one number or (height, width).
        stride: step of the window, in pixels; by default the kernel_size.
        padding: rows and columns added on each side; at most half of the kernel_size.
        dilation: distance between the elements of a window, in pixels.
        ceil_mode: round sizes up instead of down, as Caffe does: a last window may stick out at
            the bottom and on the right, if it starts inside the image or its left padding.
        return_indices: also give where the maxima are.

    Returns:
        (N, C, OH, OW) with OH = ⌊(H + 2·PH − DH·(KH − 1) − 1) / SH⌋ + 1 and OW alike; with
        return_indices a pair of that and the indices h · W + w in the unpadded plane, int32 (int64
        for planes of 2³¹ pixels and more), of the same shape.

    Raises:
        ValueError, TypeError: naming the argument that does not fit.

    Example:
        >>> import tinyfcn
        >>> x = tinyfcn.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
        >>> max_pool2d(x, 2, return_indices=True)
        (Tensor([[[[4.]]]], dtype=float32), Tensor([[[[3]]]], dtype=int32))
    """
    x = images("max_pool2d", x)
    window = pool_window("max_pool2d", x.shape, kernel_size, stride, padding, dilation, ceil_mode)
    return MaxPool2d(window, bool(ceil_mode), return_indices)(x)


def avg_pool2d(
    x: Tensor,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of every window.

    y[n, c, i, j] = Σ x / count over the pixels of window (i, j), x being 0 in the padding.

    Args:
        x: (N, C, H, W).
        kernel_size: window size; here and below one number or (height, width).
        stride: step of the window, in pixels; by default the kernel_size.
        padding: rows and columns of zeros added on each side; at most half of the kernel_size.
        ceil_mode: round sizes up, as for :func:`max_pool2d`. What sticks out beyond the padding of
            such a window never counts.
        count_include_pad: whether pixels of the padding count.

    Returns:
        (N, C, OH, OW) with OH = ⌊(H + 2·PH − KH) / SH⌋ + 1 and OW alike.

    Raises:
        ValueError, TypeError: naming the argument that does not fit.

    Example:
        >>> import tinyfcn
        >>> avg_pool2d(tinyfcn.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), 2)
        Tensor([[[[2.5]]]], dtype=float32)
    """
    x = images("avg_pool2d", x)
    window = pool_window("avg_pool2d", x.shape, kernel_size, stride, padding, 1, ceil_mode)
    rows, columns = (
        Average(n, k, s, p, bool(ceil_mode), bool(count_include_pad))
        for n, k, s, p, _ in zip(x.shape[2:], *window, strict=True)
    )
    return Resample2d(rows, columns)(x)


def adaptive_avg_pool2d(x: Tensor, output_size: Any) -> Tensor:
    """The means of OH × OW windows that cover the image: pooling to a size that is given.

    Window i of OH goes from row ⌊i·H / OH⌋ to row ⌈(i + 1)·H / OH⌉, exclusive; windows overlap
    where H is not a multiple of OH.

    Args:
        x: (N, C, H, W).
        output_size: OH = OW or (OH, OW); None keeps the size of that axis.

    Returns:
        (N, C, OH, OW).

    Raises:
        ValueError, TypeError: naming the argument that does not fit.

    Example:
        >>> import tinyfcn
        >>> adaptive_avg_pool2d(tinyfcn.tensor([[[[1.0, 2.0, 6.0]]]]), (None, 2))
        Tensor([[[[1.5, 4. ]]]], dtype=float32)
    """
    op = "adaptive_avg_pool2d"
    x = images(op, x)
    wanted = output_size if isinstance(output_size, tuple | list) else (output_size, output_size)
    if len(wanted) == 2:
        wanted = tuple(n if m is None else m for n, m in zip(x.shape[2:], wanted, strict=True))
    size = pair(op, "output_size", wanted, minimum=1)
    rows, columns = (Adaptive(n, m) for n, m in zip(x.shape[2:], size, strict=True))
    return Resample2d(rows, columns)(x)


def pool_window(
    op: str, x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> PoolWindow:
    """The checked window of a pooling of x (N, C, H, W)."""
    kernel = pair(op, "kernel_size", kernel_size, minimum=1)
    dh, dw = pair(op, "dilation", dilation, minimum=1)
    window = PoolWindow(
        kernel,
        pair(op, "stride", kernel if stride is None else stride, minimum=1),
        pair(op, "padding", padding, minimum=0),
        (dh if kernel[0] > 1 else 1, dw if kernel[1] > 1 else 1),  # there is nothing to move apart
    )
    for axis, n, k, s, p, d in zip(("height", "width"), x[2:], *window, strict=True):
        if p > k // 2:
            raise ValueError(
                f"{op}: padding {window.padding} must be at most half the kernel_size {kernel}"
            )
        out = pool_size(n, k, s, p, d, ceil_mode)
        if out < 1:
            raise ValueError(
                f"{op}: the window spans {d * (k - 1) + 1} pixels of {axis}, but x has only "
                f"{n + 2 * p} with padding {p}: x {x}, kernel_size {kernel}"
            )
        # A window that starts in the padding steps over the image if its elements are further
        # apart than the image is wide.
        if d > n and any((i * s - p) % d >= n for i in range(min(out, -(-p // s)))):
            raise ValueError(
                f"{op}: with dilation {window.dilation} and padding {window.padding} a window has "
                f"no pixel of x {x}"
            )
    return window
