"""How a kernel slides, and how NHWC memory is read through it: what the algorithms share."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from tinyfcn.backend.base import Pair
from tinyfcn.backend.cpu import threads
from tinyfcn.backend.cpu.layout import Array

Slices = tuple[slice, slice, slice]  # images, rows, columns
Shape = tuple[int, int, int]  # of an output: N, OH, OW

SHARES = 4  # tasks come in multiples of it, or one thread would wait for the others


class Window(NamedTuple):
    """Stride, padding and dilation, each (height, width)."""

    stride: Pair
    padding: Pair
    dilation: Pair

    @property
    def origin(self) -> Pair:
        """The pixel under the first kernel element at output pixel (0, 0)."""
        return -self.padding[0], -self.padding[1]

    def turned(self, kernel: Pair) -> Window:
        """How kernels turned by 180° slide over gy to give the input gradient, for stride 1."""
        top, left = (
            d * (k - 1) - p for d, k, p in zip(self.dilation, kernel, self.padding, strict=True)
        )
        return self._replace(padding=(top, left))


class Finish(NamedTuple):
    """What is done to an output block while it is still in the cache."""

    bias: Array | None = None  # (OC,)
    relu: bool = False

    def __call__(self, block: Array, channels: slice = slice(None)) -> None:
        """max(block + bias, 0) in place; ``channels`` says which of them the block holds."""
        width = 1
        if block.flags.c_contiguous:  # row by row: short inner loops cost more than their work
            width = block.shape[-2]
            block = block.reshape(*block.shape[:-2], width * block.shape[-1])
        if self.bias is not None:
            block += np.tile(self.bias[channels], width)
        if self.relu:  # NumPy takes the maximum with an array five times faster than with a number
            np.maximum(block, np.zeros(block.shape[-1], block.dtype), out=block)


class Algorithm(Protocol):
    """One way to convolve. Arrays are (N, H, W, C), weights (OC, KH, KW, C); no groups.

    The last array of each function is written; inputs may be slices of larger arrays.
    """

    def applies(self, kernel: Pair, window: Window) -> bool:
        """Whether this algorithm can do such a convolution."""

    def forward(self, x: Array, weight: Array, finish: Finish, window: Window, y: Array) -> None:
        """y = finish(conv(x, weight))."""

    def input_grad(self, gy: Array, weight: Array, window: Window, gx: Array) -> None:
        """gx = the adjoint of forward in x."""

    def weight_grad(self, x: Array, gy: Array, window: Window, gw: Array) -> None:
        """gw = the adjoint of forward in weight."""


class Scratch:
    """Buffers that a thread uses again for its next task; they go when the op is done."""

    def __init__(self) -> None:
        self._local = threads.threading.local()

    def get(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """An uninitialised array; its contents last until ``name`` is asked for again."""
        size = math.prod(shape)
        buffer = getattr(self._local, name, None)
        if buffer is None or buffer.size < size:
            buffer = np.empty(size, dtype)
            setattr(self._local, name, buffer)
        return buffer[:size].reshape(shape)

    def new(self, name: str, contents: Any) -> bool:
        """Whether a thread's buffer ``name`` is to hold something else than when it last asked."""
        before = getattr(self._local, f"{name} holds", None)
        setattr(self._local, f"{name} holds", contents)
        return bool(before != contents)


def even(size: int, longest: int, together: int = 1) -> int:
    """The length of pieces of ``range(size)``, whose number is a multiple of ``SHARES``.

    Or of so much less as there are others of its kind, whose pieces are done together.

    Example:
        >>> even(100, longest=30), even(100, longest=20)
        (25, 13)
    """
    shares = -(-SHARES // together)
    pieces = shares * -(-size // (shares * max(1, longest)))
    return -(-size // max(1, pieces))


def region(
    x: Array, images: slice, top: int, left: int, height: int, width: int, scratch: Scratch
) -> Array:
    """x[images, top : top + height, left : left + width], with zeros outside the image.

    A view where it lies inside; else a copy in ``scratch``, so that no padded image is ever made.
    """
    _, h, w, c = x.shape
    if top >= 0 and left >= 0 and top + height <= h and left + width <= w:
        return x[images, top : top + height, left : left + width]
    out = scratch.get("region", (images.stop - images.start, height, width, c), x.dtype)
    y0, y1 = (min(max(edge, 0), height) for edge in (-top, h - top))
    x0, x1 = (min(max(edge, 0), width) for edge in (-left, w - left))
    if scratch.new("region", (out.shape, y0, y1, x0, x1)):  # short calls cost more than their work
        out[:, :y0] = 0
        out[:, y1:] = 0
        out[:, y0:y1, :x0] = 0
        out[:, y0:y1, x1:] = 0
    out[:, y0:y1, x0:x1] = x[images, top + y0 : top + y1, left + x0 : left + x1]
    return out


def windows(
    x: Array, size: Pair, kernel: Pair, stride: Pair = (1, 1), dilation: Pair = (1, 1)
) -> Array:
    """(N, H, W, C) → (N, OH, OW, KH, KW, C), (OH, OW) = size: for each output pixel the window that
    it sees. A view of x, inside of which they are known to lie.

    Example:
        >>> x = np.arange(4).reshape(1, 1, 4, 1)
        >>> windows(x, size=(1, 2), kernel=(1, 2), dilation=(1, 2)).reshape(2, 2)
        array([[0, 2],
               [1, 3]])
    """
    s_n, s_h, s_w, s_c = x.strides
    (sh, sw), (dh, dw) = stride, dilation
    strides = s_n, sh * s_h, sw * s_w, dh * s_h, dw * s_w, s_c
    return np.lib.stride_tricks.as_strided(x, (len(x), *size, *kernel, x.shape[3]), strides)


def padded_windows(
    x: Array, images: slice, rows: slice, width: int, kernel: Pair, window: Window, scratch: Scratch
) -> Array:
    """The windows of some rows of outputs, which see zeros outside the image."""
    (kh, kw), ((sh, sw), (ph, pw), (dh, dw)) = kernel, window
    count = rows.stop - rows.start
    span = (count - 1) * sh + (kh - 1) * dh + 1, (width - 1) * sw + (kw - 1) * dw + 1
    block = region(x, images, rows.start * sh - ph, -pw, *span, scratch)
    return windows(block, (count, width), kernel, window.stride, window.dilation)


def meeting(inputs: slice, outputs: slice, stride: int, offset: int) -> tuple[slice, slice]:
    """The outputs o and the inputs o · stride + offset, as far as both lie inside their slices.

    They count from where the slices begin.

    Example: under the middle of three kernel elements, moved by 2 from padding of 1 on:

        >>> meeting(slice(0, 5), slice(0, 3), stride=2, offset=0)
        (slice(0, 3, None), slice(0, 5, 2))
    """
    first = max(outputs.start, -((offset - inputs.start) // stride))  # the quotient rounded up
    last = min(outputs.stop - 1, (inputs.stop - 1 - offset) // stride)
    if last < first:
        return slice(0, 0), slice(0, 0)
    start = first * stride + offset - inputs.start
    return (
        slice(first - outputs.start, last + 1 - outputs.start),
        slice(start, start + (last - first) * stride + 1, stride),
    )


def each_tap(
    rows_in: slice, w: int, rows_out: slice, ow: int, kernel: Pair, window: Window
) -> Iterator[tuple[int, Slices, Slices]]:
    """For each kernel element, in reading order: its number, the windows and the pixels it joins.

    Windows are restricted to ``rows_out`` and pixels to ``rows_in``; slices count from there.
    """
    (sh, sw), (ph, pw), (dh, dw) = window
    images, inputs, outputs = slice(None), slice(0, w), slice(0, ow)
    rows = [meeting(rows_in, rows_out, sh, k * dh - ph) for k in range(kernel[0])]
    columns = [meeting(inputs, outputs, sw, k * dw - pw) for k in range(kernel[1])]
    for tap, (row, column) in enumerate(itertools.product(rows, columns)):
        yield tap, (images, row[0], column[0]), (images, row[1], column[1])
