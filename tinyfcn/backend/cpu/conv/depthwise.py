"""Depthwise convolution: each channel by itself, so there is no matrix product to be had.

y = Σ over kernel elements of W[kh, kw] ⊙ (the image, shifted): as many multiplications and
additions of whole images as the kernel has elements. ``np.einsum`` does all of them in one call,
without a product in between, in inner loops along rows of pixels × channels. That is three to four
times as fast as the block-diagonal matrices of ``groups.py``, whose zeros are multiplied too.

Such a row must lie in memory without gaps. So a stride is taken apart: output column j meets column
s·j + q of the image under kernel columns q, q + s, …, for each q < s a convolution of every s-th
column without a stride. The input gradient is taken apart likewise (``phases.py``).
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from tinyfcn.backend.cpu import threads
from tinyfcn.backend.cpu.conv.phases import phases
from tinyfcn.backend.cpu.conv.window import Finish, Pair, Scratch, Window, padded_windows
from tinyfcn.backend.cpu.layout import Array
from tinyfcn.backend.cpu.sums import RUN, sum_axis

BLOCK = 1 << 17  # elements of a block
LARGEST_KERNEL = 225  # elements, each repeated over a row; larger ones go to groups.py

Block = tuple[int, slice]  # an image, rows


def applies(kernel: Pair, window: Window) -> bool:
    """A small kernel; a stride or a dilation along the rows, not both."""
    return kernel[0] * kernel[1] <= LARGEST_KERNEL and 1 in (window.stride[1], window.dilation[1])


def forward(x: Array, weight: Array, finish: Finish, window: Window, y: Array) -> None:
    """y = finish(Σ W[kh, kw] ⊙ shifted x); weight (C, KH, KW, 1)."""
    _add_up([(_terms(x, weight[..., 0].transpose(1, 2, 0), window, y.shape[2]), y)], finish)


def input_grad(gy: Array, weight: Array, window: Window, gx: Array) -> None:
    """For each phase of the stride the same, with kernel elements in reverse."""
    kernels, sums = weight[..., 0].transpose(1, 2, 0), []
    rows, columns = (
        [(part.first + i, part, taps) for part in parts for i, taps in enumerate(part.taps)]
        for parts in (
            phases(*axis) for axis in zip(gx.shape[1:3], kernels.shape[:2], *window, strict=True)
        )
    )
    for (top, row, a), (left, column, b) in itertools.product(rows, columns):
        target = gx[:, top :: window.stride[0], left :: window.stride[1]]
        if row.origin is None or column.origin is None:
            target[...] = 0
            continue
        reads = Window((1, 1), (-row.origin, -column.origin), (row.step, column.step))
        sums.append((_terms(gy, kernels[a][:, b], reads, target.shape[2]), target))
    _add_up(sums, Finish())


def weight_grad(x: Array, gy: Array, window: Window, gw: Array) -> None:
    """gw[:, kh, kw] = Σ over pixels of gy ⊙ shifted x, in fixed blocks added in order."""
    kernels, scratch = gw[..., 0].transpose(1, 2, 0), Scratch()  # (KH, KW, C)
    terms = _terms(x, kernels, window, gy.shape[2])

    def task(block: Block) -> Array:
        lines = gy[block].reshape(block[1].stop - block[1].start, -1)
        found = np.empty(kernels.shape, gw.dtype)
        for term in terms:
            sums = scratch.get("sums", term.taps.shape, gw.dtype)
            np.einsum("klrx,rx->klx", term.shifted(block, scratch), lines, out=sums)
            pixels = sums.reshape(*sums.shape[:2], -1, len(gw))
            found[:, term.columns] = sum_axis(pixels, 2)[:, :, 0]
        return found

    kernels[...] = sum(threads.parallel_for(task, _blocks(gy)), np.zeros(kernels.shape))  # float64


class Term(NamedTuple):
    """What some columns of the kernel add to the output, moving by one pixel."""

    columns: slice
    x: Array
    taps: Array  # (KH, KW, OW · C): a short inner loop would cost more than its work
    window: Window

    def shifted(self, block: Block, scratch: Scratch) -> Array:
        """(KH, KW, rows, OW · C): what of x lies under each kernel element, zero outside."""
        (image, rows), kernel = block, self.taps.shape[:2]
        width = self.taps.shape[2] // self.x.shape[3]
        at = slice(image, image + 1), rows, width
        (windows,) = padded_windows(self.x, *at, kernel, self.window, scratch)
        return windows.transpose(2, 3, 0, 1, 4).reshape(*kernel, len(windows), -1)


def _terms(x: Array, kernels: Array, window: Window, width: int) -> list[Term]:
    """A correlation with kernels (KH, KW, C), taken apart by the stride along the rows."""
    (down, stride), (top, left), dilation = window

    def term(q: int) -> Term:
        origin, first = divmod(q - left, stride)
        moves = Window((down, 1), (top, -origin), dilation)
        columns = slice(q, None, stride)
        taps = np.tile(kernels[:, columns], (1, 1, width))
        return Term(columns, x[:, :, first::stride], taps, moves)

    return [term(q) for q in range(min(stride, kernels.shape[1]))]


def _add_up(sums: list[tuple[list[Term], Array]], finish: Finish) -> None:
    """Write finish(the sum of some terms) to each output."""
    scratch = Scratch()

    def task(item: tuple[list[Term], Array, Block]) -> None:
        terms, y, block = item
        target = y[block]
        whole = target.flags.c_contiguous
        out = target if whole else scratch.get("out", target.shape, y.dtype)
        lines = out.reshape(len(out), -1)
        for term in terms:
            found = lines if term is terms[0] else scratch.get("found", lines.shape, y.dtype)
            np.einsum("klrx,klx->rx", term.shifted(block, scratch), term.taps, out=found)
            if found is not lines:
                lines += found
        finish(out)
        if not whole:
            target[...] = out

    tasks = [(terms, y, block) for terms, y in sums for block in _blocks(y)]
    threads.parallel_for(task, tasks)


def _blocks(y: Array) -> list[Block]:
    """(image, rows) in blocks of about BLOCK elements."""
    n, h, w, c = y.shape
    bands = threads.split(h, min(RUN, BLOCK // (w * c)))
    return [(image, rows) for image in range(n) for rows in bands]
