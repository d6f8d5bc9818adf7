"""Pad and crop: change the borders of an image."""

from __future__ import annotations

from typing import Any

from tinyfcn import backend
from tinyfcn.function import Function
from tinyfcn.functional.resampling import Bordered, Resample2d
from tinyfcn.functional.sizes import Pair, images, pair
from tinyfcn.tensor import Tensor

__all__ = ["crop", "pad"]


class PadConstant(Function):
    """Put x into a larger plane that is ``value`` elsewhere; the adjoint crops."""

    def __init__(self, before: Pair, after: Pair, value: float) -> None:
        self.before, self.after = before, after  # rows and columns to add, at least 0
        self.value = value

    def forward(self, x):
        n, c, height, width = x.shape
        (top, left), (bottom, right) = self.before, self.after
        size = (top + height + bottom, left + width + right)
        y = backend.active().empty((n, c, *size), x.dtype)
        y[...] = self.value
        self.index = (..., slice(top, top + height), slice(left, left + width))
        y[self.index] = x
        return y

    def backward(self, gy):
        return gy[self.index]


def pad(x: Tensor, pad: Any, mode: str = "constant", value: float = 0.0) -> Tensor:
    """Add rows and columns around an image, or take some away.

    Args:
        x: (N, C, H, W).
        pad: (left, right, top, bottom) in pixels, or (left, right). Numbers below 0 crop; they go
            with mode "constant" only.
        mode: what to add: "constant": ``value``; "reflect": the image mirrored at its outermost
            pixels, which are not repeated; "replicate": the outermost pixels, again and again.
        value: for mode "constant".

    Returns:
        (N, C, top + H + bottom, left + W + right).

    Raises:
        ValueError, TypeError: naming the argument that does not fit.

    Example:
        >>> import tinyfcn
        >>> x = tinyfcn.tensor([[[[1.0, 2.0, 3.0]]]])
        >>> pad(x, (2, 1), mode="reflect")
        Tensor([[[[3., 2., 1., 2., 3., 2.]]]], dtype=float32)
        >>> pad(x, (-1, 2))
        Tensor([[[[2., 3., 0., 0.]]]], dtype=float32)
    """
    x = images("pad", x)
    left, right, top, bottom = _borders(pad)
    height, width = x.shape[2:]
    left_over = (
        height + min(0, top) + min(0, bottom),
        width + min(0, left) + min(0, right),
    )
    if min(left_over) < 1:
        raise ValueError(f"pad: pad {tuple(pad)} leaves nothing of x {x.shape}")
    if mode == "constant":
        if min(left, right, top, bottom) < 0:
            x = x[:, :, max(0, -top) : height + min(0, bottom),
                  max(0, -left) : width + min(0, right)]  # fmt: skip
            left, right, top, bottom = (max(0, n) for n in (left, right, top, bottom))
        return PadConstant((top, left), (bottom, right), value)(x)
    if mode not in ("reflect", "replicate"):
        raise ValueError(f"pad: mode must be 'constant', 'reflect' or 'replicate', got {mode!r}")
    if min(left, right, top, bottom) < 0:
        raise ValueError(f"pad: mode {mode!r} cannot crop, got pad {tuple(pad)}")
    if mode == "reflect" and (max(left, right) >= width or max(top, bottom) >= height):
        raise ValueError(
            f"pad: mode 'reflect' needs pad below the image's size, got pad {tuple(pad)} for "
            f"x {x.shape}"
        )
    return Resample2d(Bordered(height, top, bottom, mode), Bordered(width, left, right, mode))(x)


def crop(x: Tensor, offset: int | Pair, size: int | Pair) -> Tensor:
    """Cut a window out of an image.

    Args:
        x: (N, C, H, W).
        offset: its first row and column: one number or (top, left).
        size: one number or (height, width); the window must lie inside the image.

    Returns:
        (N, C, height, width).

    Raises:
        ValueError, TypeError: naming the argument that does not fit.

    Example:
        >>> import tinyfcn
        >>> crop(tinyfcn.tensor([[[[1.0, 2.0, 3.0]]]]), (0, 1), (1, 2))
        Tensor([[[[2., 3.]]]], dtype=float32)
    """
    x = images("crop", x)
    top, left = pair("crop", "offset", offset, minimum=0)
    height, width = pair("crop", "size", size, minimum=1)
    if top + height > x.shape[2] or left + width > x.shape[3]:
        raise ValueError(
            f"crop: the window of size {(height, width)} at offset {(top, left)} must lie inside "
            f"x {x.shape}"
        )
    return x[:, :, top : top + height, left : left + width]


def _borders(borders: Any) -> tuple[int, int, int, int]:
    numbers = tuple(borders) if isinstance(borders, tuple | list) else ()
    if len(numbers) not in (2, 4) or not all(hasattr(b, "__index__") for b in numbers):
        raise TypeError(
            "pad: pad must be integers (left, right) or (left, right, top, bottom), got "
            f"{borders!r}"
        )
    left, right, top, bottom = (*(n.__index__() for n in numbers), 0, 0)[:4]
    return left, right, top, bottom
