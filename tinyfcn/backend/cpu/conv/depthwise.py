"""Depthwise convolution: each channel by itself, so there is no matrix product to be had.

y = Σ over kernel elements of W[kh, kw] ⊙ (the image, shifted): as many multiplications and
additions of whole images as the kernel has elements. ``np.einsum`` does all of them in one call,
without a product in between, in inner loops along rows of pixels × channels. That is three to four
times as fast as the block-diagonal matrices of ``groups.py``, whose zeros are multiplied too.

A stride of s along the rows makes s pixels side by side one pixel of s · C channels, which needs no
copy; the kernel becomes KW / s pixels wide, filled up with zeros. Forward, those channels of the
result are added up. The input gradient has each pixel of gy s times instead, and a convolution for
each phase of the rows (``phases.py``).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tinyfcn.backend.cpu import threads
from tinyfcn.backend.cpu.conv.phases import phases
from tinyfcn.backend.cpu.conv.separable import factors
from tinyfcn.backend.cpu.conv.window import Finish, Pair, Scratch, Window, region, windows
from tinyfcn.backend.cpu.layout import Array
from tinyfcn.backend.cpu.sums import RUN, sum_axis

BLOCK = 1 << 17  # elements of a block

Block = tuple[int, slice]  # an image, rows


def applies(kernel: Pair, window: Window) -> bool:
    """A stride or a dilation along the rows, not both."""
    return 1 in (window.stride[1], window.dilation[1])


def forward(x: Array, weight: Array, finish: Finish, window: Window, y: Array) -> None:
    """y = finish(Σ W[kh, kw] ⊙ shifted x); weight (C, KH, KW, 1)."""
    if 1 not in window.stride and (found := factors(weight)):
        found.forward(x, finish, window, y)
        return
    kernels, stride = weight[..., 0].transpose(1, 2, 0), window.stride[1]
    taps = _wide(kernels, stride, 0, y.shape[2])
    shifts = Shifts(x, taps.shape[:2], window, y.shape[2], Scratch())

    def task(block: Block) -> None:
        out, shifted = y[block], shifts.of(block)
        if stride == 1:
            np.einsum("klrx,klx->rx", shifted, taps, out=out.reshape(len(out), -1))
        else:
            lines = np.einsum("klrx,klx->rx", shifted, taps)
            first, *others = np.moveaxis(lines.reshape(*out.shape[:2], stride, -1), 2, 0)
            out[...] = first
            for pixels in others:
                out += pixels
        finish(out)

    threads.parallel_for(task, _blocks(y, stride))


def input_grad(gy: Array, weight: Array, window: Window, gx: Array) -> None:
    """Σ of the turned kernels ⊙ shifted gy, for each phase of the rows."""
    if 1 not in window.stride and (found := factors(weight)):
        found.input_grad(gy, window, gx)
        return
    kernels, scratch, tasks = weight[..., 0].transpose(1, 2, 0), Scratch(), []
    (_, h, w, c), (kh, kw, _) = gx.shape, kernels.shape
    (down, stride), (top, left), (dh, dw) = window
    width = -(-w // stride)
    last = (dw * (kw - 1) - left) // stride  # pixels of gy left of a wide one, where it reads first
    for part in phases(h, kh, down, top, dh):
        for i, rows in enumerate(part.taps):
            target = gx[:, part.first + i :: down]
            if part.origin is None:
                target[...] = 0
                continue
            taps = _wide(kernels[rows], stride, -left % stride, width)[:, ::-1]
            moves = Window((1, 1), (-part.origin, last), (part.step, dw))
            shifts = Shifts(gy, taps.shape[:2], moves, width, scratch, stride)
            tasks += [(shifts, taps, target, block) for block in _blocks(target)]

    def task(item: tuple[Shifts, Array, Array, Block]) -> None:
        shifts, taps, target, block = item
        lines = target[block].reshape(-1, w * c)  # a view
        if taps.shape[2] == w * c:
            np.einsum("klrx,klx->rx", shifts.of(block), taps, out=lines)
        else:
            lines[...] = np.einsum("klrx,klx->rx", shifts.of(block), taps)[:, : w * c]

    threads.parallel_for(task, tasks)


def weight_grad(x: Array, gy: Array, window: Window, gw: Array) -> None:
    """gw[:, kh, kw] = Σ over pixels of gy ⊙ shifted x, in fixed blocks added in order."""
    (c, kh, kw, _), stride = gw.shape, window.stride[1]
    shifts = Shifts(x, (kh, -(-kw // stride)), window, gy.shape[2], Scratch())

    def task(block: Block) -> Array:
        shifted = shifts.of(block)
        grads = gy[block] if stride == 1 else np.repeat(gy[block], stride, 1)
        lines = grads.reshape(shifted.shape[2:])
        sums = shifts.scratch.get("sums", (*shifted.shape[:2], shifted.shape[3]), gw.dtype)
        np.einsum("klrx,rx->klx", shifted, lines, out=sums)
        found = sum_axis(sums.reshape(*sums.shape[:2], -1, stride * c), 2)
        return found.reshape(kh, -1, c)[:, :kw]

    total = sum(threads.parallel_for(task, _blocks(gy, stride)), np.zeros((kh, kw, c)))  # float64
    gw[..., 0] = total.transpose(2, 0, 1)


class Shifts(NamedTuple):
    """What of x lies under each element of a kernel of wide pixels, zero outside."""

    x: Array
    kernel: Pair
    window: Window
    width: int  # of the output, in wide pixels
    scratch: Scratch
    repeats: int = 1  # of each pixel of x

    def of(self, block: Block) -> Array:
        """(KH, KW / s, rows, width · s · C) for a block of the output; a view of a few rows."""
        (image, rows), (kh, kw), width = block, self.kernel, self.width
        (down, stride), (top, left), (dh, dw) = self.window
        count = rows.stop - rows.start
        size = (count - 1) * down + dh * (kh - 1) + 1, stride * (width + dw * (kw - 1))
        at = slice(image, image + 1), rows.start * down - top, -left
        pixels = region(self.x, *at, *size, self.scratch)
        pixels = pixels if self.repeats == 1 else np.repeat(pixels, self.repeats, 2)
        wide = pixels.reshape(1, size[0], size[1] // stride, -1)
        (found,) = windows(wide, (count, width), self.kernel, (down, 1), (dh, dw))
        return found.transpose(2, 3, 0, 1, 4).reshape(kh, kw, count, -1)


def _wide(kernels: Array, stride: int, first: int, width: int) -> Array:
    """(KH, KW, C) → (KH, KW / s, width · s · C), from the pixel ``first`` on, with zeros around;
    each element as long as a row, as a short inner loop would cost more than its work."""
    kh, kw, c = kernels.shape
    wide = np.zeros((kh, -(-(first + kw) // stride) * stride, c), kernels.dtype)
    wide[:, first : first + kw] = kernels
    return np.tile(wide.reshape(kh, -1, stride * c), (1, 1, width))


def _blocks(y: Array, stride: int = 1) -> list[Block]:
    """Blocks of about BLOCK elements, each of which meets so many pixels in a row."""
    n, h, w, c = y.shape
    bands = threads.split(h, min(RUN, BLOCK // (w * c * stride)))
    return [(image, rows) for image in range(n) for rows in bands]
