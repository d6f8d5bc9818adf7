"""Winograd's F(2, 3) down the columns, im2col along the rows: for kernels that are 3 high.

``winograd.py`` saves multiplications in both directions and pays with transforms that touch every
number many times; between few channels these cost as much as they save. Here two output rows come
from four input rows d0 … d3, which are long stretches of memory and quickly added:

    y0 = m0 + m1 + m2,   y1 = m1 − m2 − m3,
    m0 = (d0 − d2) ∗ g0,   m1 = (d1 + d2) ∗ (g0 + g1 + g2) / 2,
    m3 = (d1 − d3) ∗ g2,   m2 = (d2 − d1) ∗ (g0 − g1 + g2) / 2,

with the rows g0, g1, g2 of the kernel and ∗ a convolution of one row, done as in ``tiles.py`` by a
matrix of columns: 4 products for two rows instead of 6. The constants are ½ and ±1: the result is
as good as a direct one. Gradients are as in ``winograd.py``; so is a dilation, row by row.

Source: Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR 2016, section 4.1.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from tinyfcn.backend.cpu import threads
from tinyfcn.backend.cpu.conv.window import Finish, Pair, Scratch, Window, region
from tinyfcn.backend.cpu.layout import Array

BLOCK_ELEMENTS = 1 << 20  # of the columns of one task
BLOCK_ROWS = 512  # of a matrix of columns, at least
RUNS = 8  # partial sums of a weight gradient

_G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])  # kernel rows → points


def applies(kernel: Pair, window: Window) -> bool:
    """Kernels of three rows, without stride."""
    return kernel[0] == 3 and window.stride == (1, 1)


def forward(x: Array, weight: Array, finish: Finish, window: Window, y: Array) -> None:
    """y = finish(conv(x, weight))."""
    oc, _, kw, c = weight.shape
    points = _kernel_points(weight.transpose(1, 0, 2, 3))  # (4, OC, KW, C)
    points = points.reshape(4, oc, kw * c).transpose(0, 2, 1)
    origin = -window.padding[0], -window.padding[1]
    _correlate(x, points, (kw, window.dilation), origin, finish, y)


def input_grad(gy: Array, weight: Array, window: Window, gx: Array) -> None:
    """The convolution of gy with kernels turned by 180°, their channels swapped."""
    oc, _, kw, c = weight.shape
    (ph, pw), (dh, dw) = window.padding, window.dilation
    points = _kernel_points(weight[:, ::-1, ::-1].transpose(1, 2, 0, 3))  # (4, KW, OC, C)
    origin = ph - 2 * dh, pw - (kw - 1) * dw
    points = points.reshape(4, kw * oc, c)
    _correlate(gy, points, (kw, window.dilation), origin, Finish(), gx)


def weight_grad(x: Array, gy: Array, window: Window, gw: Array) -> None:
    """gw = Gᵀ [Σ over row pairs of (A gy)ᵀ · columns of (Bᵀ x)], A and B as in winograd.py."""
    oc, _, kw, c = gw.shape
    scratch, origin = Scratch(), (-window.padding[0], -window.padding[1])
    blocks = _blocks(gy, window.dilation[0], kw * max(c, oc))
    # Partial sums belong to fixed runs of blocks and are added in order: the same bits for any
    # number of threads.
    runs = threads.split(len(blocks), -(-len(blocks) // RUNS))
    sums = np.zeros((len(runs), 4, kw * c, oc), gw.dtype)

    def sum_run(item: tuple[slice, Array]) -> None:
        run, total = item
        for block in blocks[run]:
            columns = _columns(x, block, kw, window.dilation, origin, gy.shape[2], scratch)
            grads = _gradient_points(gy, block, scratch)  # (4, pixels, OC)
            product = scratch.get("product", total.shape, gw.dtype)
            total += np.matmul(columns.transpose(0, 2, 1), grads, out=product)

    threads.parallel_for(sum_run, [*zip(runs, sums, strict=True)])
    rows = np.empty((3, kw * c, oc), gw.dtype)

    def finish(piece: slice) -> None:
        total = sums[:, :, piece].sum(axis=0)  # (4, this piece of KW·C, OC)
        rows[:, piece] = (_G.T.astype(gw.dtype) @ total.reshape(4, -1)).reshape(3, -1, oc)

    threads.parallel_for(finish, threads.split(kw * c, -(-kw * c // RUNS)))
    gw[...] = rows.reshape(3, kw, c, oc).transpose(3, 0, 1, 2)


class Block(NamedTuple):
    """Pairs of output rows: of one phase of the dilation, of some images."""

    phase: int
    dilation: int
    images: slice
    pairs: slice

    def rows_of(self, x: Array, origin: int = 0) -> tuple[Array, int]:
        """The rows of x in this phase, counted from ``origin``, and where that is among them."""
        top, first = divmod(origin + self.phase, self.dilation)
        return x[:, first :: self.dilation], top

    @property
    def shape(self) -> tuple[int, int]:
        return self.images.stop - self.images.start, self.pairs.stop - self.pairs.start


def _blocks(y: Array, dilation: int, depth: int) -> list[Block]:
    """The row pairs of y (N, OH, OW, OC), whose pixels see ``depth`` numbers of a row each."""
    n, oh, ow, _ = y.shape
    count = -(-oh // (2 * dilation))  # pairs of a phase, the last of which may stick out
    pairs = max(1, max(BLOCK_ROWS, BLOCK_ELEMENTS // (4 * depth)) // ow)
    images = threads.split(n, max(1, pairs // count)) if n else []
    parts = itertools.product(range(dilation), images, threads.split(count, pairs))
    return [Block(phase, dilation, some, part) for phase, some, part in parts]


def _kernel_points(rows: Array) -> Array:
    """(3, …) → (4, …): the rows of kernels at the four points."""
    points = np.empty((4, *rows.shape[1:]), rows.dtype)

    def task(piece: slice) -> None:
        part = rows[:, piece]
        flat = _G.astype(rows.dtype) @ part.reshape(3, -1)
        points[:, piece] = flat.reshape(4, *part.shape[1:])

    threads.parallel_for(task, threads.split(rows.shape[1], max(1, -(-rows.shape[1] // RUNS))))
    return points


def _columns(
    x: Array, block: Block, kw: int, dilation: Pair, origin: Pair, ow: int, scratch: Scratch
) -> Array:
    """(4, pixels of a row of each pair, KW·C): the columns of d0 − d2, d1 + d2, d2 − d1, d1 − d3.

    ``origin`` is the pixel of x under the first kernel element at output pixel (0, 0).
    """
    n, pairs = block.shape
    x, top = block.rows_of(x, origin[0])
    w, c = x.shape[2:]
    rows = region(x, block.images, top + 2 * block.pairs.start, 0, 2 * pairs + 2, w, scratch)
    d = [rows[:, k : k + 2 * pairs - 1 : 2] for k in range(4)]  # each (n, pairs, W, C)
    left, width = max(0, -origin[1]), ow + (kw - 1) * dilation[1]
    first = max(0, origin[1])
    last = max(first, min(w, origin[1] + width))
    right = left + last - first
    padded = scratch.get("points", (4, n, pairs, width, c), x.dtype)
    padded[..., :left, :] = 0
    padded[..., right:, :] = 0
    points = padded[..., left:right, :]
    for point, (function, a, b) in zip(points, _COMBINED, strict=True):
        function(d[a][:, :, first:last], d[b][:, :, first:last], out=point)
    s_p, s_n, s_r, s_w, s_c = padded.strides
    windows = np.lib.stride_tricks.as_strided(
        padded,
        (4, n, pairs, ow, kw, c),
        (s_p, s_n, s_r, s_w, s_w * dilation[1], s_c),
        writeable=False,
    )
    columns = scratch.get("columns", windows.shape, x.dtype)
    np.copyto(columns, windows)
    return columns.reshape(4, -1, kw * c)


_COMBINED = ((np.subtract, 0, 2), (np.add, 1, 2), (np.subtract, 2, 1), (np.subtract, 1, 3))


def _correlate(
    x: Array, points: Array, kernel: tuple[int, Pair], origin: Pair, finish: Finish, y: Array
) -> None:
    """y = finish(the correlation of x with kernels, given at the four points)."""
    kw, dilation = kernel
    outputs, scratch = points.shape[2], Scratch()
    blocks = _blocks(y, dilation[0], points.shape[1])

    def task(block: Block) -> None:
        columns = _columns(x, block, kw, dilation, origin, y.shape[2], scratch)
        products = scratch.get("products", (*columns.shape[:2], outputs), y.dtype)
        np.matmul(columns, points, out=products)
        m0, m1, m2, m3 = products.reshape(4, *block.shape, y.shape[2], outputs)
        rows, _ = block.rows_of(y)
        rows = rows[block.images, 2 * block.pairs.start : 2 * block.pairs.stop]
        even, odd = rows[:, 0::2], rows[:, 1::2]  # the last pair may lack one or both
        m0 += m1
        np.add(m0[:, : even.shape[1]], m2[:, : even.shape[1]], out=even)
        m1 -= m2
        np.subtract(m1[:, : odd.shape[1]], m3[:, : odd.shape[1]], out=odd)
        finish(rows)

    threads.parallel_for(task, blocks)


def _gradient_points(gy: Array, block: Block, scratch: Scratch) -> Array:
    """(4, pixels, OC): g0, g0 + g1, g0 − g1 and −g1 of each pair of rows."""
    n, pairs = block.shape
    rows, _ = block.rows_of(gy)
    rows = rows[block.images, 2 * block.pairs.start : 2 * block.pairs.stop]
    even, odd = rows[:, 0::2], rows[:, 1::2]  # the last pair may lack one or both
    grads = scratch.get("grads", (4, n, pairs, *gy.shape[2:]), gy.dtype)
    grads[:, :, odd.shape[1] :] = 0
    grads[:3, :, : even.shape[1]] = even
    grads[1, :, : odd.shape[1]] += odd
    grads[2, :, : odd.shape[1]] -= odd
    np.negative(odd, out=grads[3, :, : odd.shape[1]])
    return grads.reshape(4, -1, gy.shape[3])
