"""Winograd's F(2, 3) down the columns, and no copies along the rows: for kernels that are 3 high.

``winograd.py`` saves multiplications in both directions and pays with transforms that touch
every number many times; between few channels these cost as much as they save. Here two output rows
come from four input rows d0 … d3, which are long stretches of memory and quickly combined:

    y0 = m0 + m1 + m2,   y1 = m1 − m2 + m3,
    m0 = (d0 − d2) ∗ g0,   m1 = (d1 + d2) ∗ (g0 + g1 + g2) / 2,
    m3 = (d1 − d3) ∗ −g2,   m2 = (d2 − d1) ∗ (g0 − g1 + g2) / 2,

with the rows g0, g1, g2 of the kernel and ∗ a convolution of one row: 4 products for two rows
instead of 6. The constants are ½ and ±1: the result is as good as a direct one.

The convolution of a row needs no columns (``columns.py``). In channels-last memory the window of KW
neighbouring pixels is KW · C numbers side by side, and the windows of the pixels r, r + KW,
r + 2 KW … tile the memory. So for each phase r < KW the matrix of windows is a view of the row, and
their outputs are every KW-th row of the result. One row of an image follows the other, with zeros
between them; the outputs of windows that reach from one into the next are left out.

A product with few columns is slow. So windows of few outputs are a pixel wider and make two pixels
at once: next to the kernels stand the same, moved by a pixel, with zeros around them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tinyfcn.backend.cpu.conv.products import combine, product_over_rows, tall_product
from tinyfcn.backend.cpu.conv.window import Finish, Pair, Scratch, Window, region, windows
from tinyfcn.backend.cpu.layout import Array
from tinyfcn.backend.cpu.threads import parallel_for, places, split

POINTS = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])  # Bᵀ: d0 − d2, …
ROWS = np.array([[1, 1, 1, 0], [0, 1, -1, 1]])  # Aᵀ: m0 + m1 + m2, m1 − m2 + m3

# Inputs and outputs of one task at all points, at least and at most: calls are dear, caches small.
STRIP_ELEMENTS = 1 << 19, 1 << 20
FEW = 8  # outputs: BLAS computes 16 columns in the time of 8
RUNS = 8  # partial sums of a weight gradient


def applies(kernel: Pair, window: Window) -> bool:
    """Kernels of three rows, without stride and dilation."""
    return kernel[0] == 3 and window.stride == window.dilation == (1, 1)


def forward(x: Array, weight: Array, finish: Finish, window: Window, y: Array) -> None:
    """y = finish(conv(x, weight))."""
    oc, _, kw, c = weight.shape
    # In this order of memory: OpenBLAS multiplies by a transposed matrix at half the rate. And not
    # as a product: outside of tasks BLAS wakes threads of its own, which then spin beside ours.
    g0, g1, g2 = weight.transpose(1, 2, 3, 0).copy()  # (KW, C, OC) each
    plus = (g0 + g1 + g2) / 2
    each = np.stack([g0, plus, plus - g1, -g2])
    group = grouped(oc, kw)
    kernels = np.zeros((4, 1, kw + group - 1, c, group, oc), each.dtype)
    for i in range(group):
        kernels[:, 0, i : i + kw, :, i] = each
    kernels = kernels.reshape(4, 1, -1, group * oc)
    scratch = Scratch()

    def task(strip: Strip) -> None:
        products = strip.buffer("products", oc, y.dtype, scratch)
        tall_product(strip.windows(scratch), kernels, out=strip.by_phase(products))
        finish(strip.interpolate(products))

    parallel_for(task, strips(x, y, kw, window))


def input_grad(gy: Array, weight: Array, window: Window, gx: Array) -> None:
    """The convolution of gy with kernels turned by 180°, their channels swapped."""
    turned = weight[:, ::-1, ::-1].transpose(3, 1, 2, 0)  # (C, KH, KW, OC)
    forward(gy, turned, Finish(), window.turned(weight.shape[1:3]), gx)


def weight_grad(x: Array, gy: Array, window: Window, gw: Array) -> None:
    """gw = Gᵀ Σ over pixels of (A gy) (Bᵀ windows)."""
    oc, _, kw, c = gw.shape
    group, scratch = grouped(oc, kw), Scratch()

    def add(run: list[Strip]) -> Array:
        total = np.zeros((4, group * oc, (kw + group - 1) * c), gw.dtype)
        for strip in run:
            grads = strip.by_phase(strip.gradients(scratch))
            total += product_over_rows(grads, strip.windows(scratch)).sum(1)
        return total

    # Partial sums belong to fixed runs of strips and are added in order: the same bits for any
    # number of threads.
    every = strips(x, gy, kw, window)
    parts = parallel_for(add, [every[run] for run in split(len(every), -(-len(every) // RUNS))])
    found = np.sum(parts, axis=0).reshape(4, group, oc, -1, c)
    m0, m1, m2, m3 = sum(found[:, i, :, i : i + kw] for i in range(group))
    gw[:, 0] = m0 + (m1 + m2) / 2
    gw[:, 1] = (m1 - m2) / 2
    gw[:, 2] = (m1 + m2) / 2 - m3


class Strip(NamedTuple):
    """Pairs of output rows that are computed together, and how their pixels lie in a buffer."""

    x: Array
    y: Array  # or its gradient
    origin: Pair  # of the first window in x
    group: int  # neighbouring outputs of a window
    taps: int  # KW + group − 1: its pixels
    images: slice
    pairs: slice
    shape: tuple[int, int, int]  # images, pairs, and pixels from one row to the next

    def buffer(
        self, name: str, channels: int, dtype: Any, scratch: Scratch, more: int = 0
    ) -> Array:
        """Room for every pixel at the four points, and some more, (4, pixels, channels)."""
        n, pairs, pitch = self.shape
        pixels = -(-n * pairs * pitch // self.taps) * self.taps + more
        return scratch.get(name, (4, pixels, channels), dtype)

    def rows(self, buffer: Array) -> Array:
        """(4, images, pairs, pitch, channels) of a buffer."""
        n, pairs, pitch = self.shape
        return buffer[:, : n * pairs * pitch].reshape(4, n, pairs, pitch, -1)

    def by_phase(self, buffer: Array) -> Array:
        """(4, pixels, channels) as (4, phases, pixels / taps, group · channels)."""
        phases, width = self.taps // self.group, self.group * buffer.shape[2]
        return buffer.reshape(4, -1, phases, width).swapaxes(1, 2)

    def combined(
        self, name: str, matrix: Array, image: Array, origin: Pair, scratch: Scratch
    ) -> Array:
        """A matrix times the rows under each pair, with zeros between them, (4, pixels, C)."""
        (top, left), (n, pairs, pitch), depth = origin, self.shape, matrix.shape[1]
        top, rows = top + 2 * self.pairs.start, 2 * pairs - 2 + depth
        found = region(image, self.images, top, left, rows, pitch, scratch)
        under = windows(found, (pairs, 1), (depth, pitch), (2, 1))[:, :, 0]
        buffer = self.buffer(name, image.shape[3], image.dtype, scratch, self.taps - 1)
        buffer[:, n * pairs * pitch :] = 0
        combine(matrix, under, out=self.rows(buffer).transpose(1, 2, 0, 3, 4))
        return buffer

    def windows(self, scratch: Scratch) -> Array:
        """The windows of Bᵀ d, as (4, phases, pixels / taps, taps · C)."""
        points = self.combined("points", POINTS, self.x, self.origin, scratch)
        step, pixel, one = points.strides
        count = points.shape[1] // self.taps
        shape = 4, self.taps // self.group, count, self.taps * points.shape[2]
        strides = step, self.group * pixel, self.taps * pixel, one
        return np.ndarray(shape, points.dtype, points, strides=strides)

    def gradients(self, scratch: Scratch) -> Array:
        """A gy, as (4, pixels, OC)."""
        return self.combined("grads", ROWS.T, self.y, (0, 0), scratch)[:, : 1 - self.taps or None]

    def interpolate(self, products: Array) -> Array:
        """Write the output rows, Aᵀ m, and give them."""
        y = self.y[self.images, 2 * self.pairs.start : 2 * self.pairs.stop]
        n, rows, w, oc = y.shape
        m = self.rows(products)[..., :w, :].transpose(1, 2, 0, 3, 4)
        whole = rows // 2
        combine(ROWS, m[:, :whole], out=y[:, : 2 * whole].reshape(n, whole, 2, w, oc))
        if rows % 2:
            combine(ROWS[:1], m[:, whole:], out=y[:, None, -1:])
        return y


def grouped(outputs: int, taps: int) -> int:
    """How many neighbouring pixels to compute at once, so that products have columns enough."""
    return 2 if outputs <= FEW and taps % 2 else 1


def strips(x: Array, y: Array, taps: int, window: Window) -> list[Strip]:
    """All the output rows, of images one after the other."""
    (n, oh, ow, oc), (_, _, w, c), left = y.shape, x.shape, -window.padding[1]
    pairs, span = -(-oh // 2), ow + taps - 1
    # The zeros right of a row may be those left of the next.
    pitch = span - max(0, min(-left, left + span - w, taps - 1))
    least, most = (max(1, size // (4 * ow * (c + oc))) for size in STRIP_ELEMENTS)
    count = 2 * -(-n * pairs // (2 * most))  # or one of two threads would wait for the other
    length = max(least, -(-n * pairs // max(1, count)))
    found, group = [], grouped(oc, taps)
    for images, rows in places(n, pairs, length):
        shape = images.stop - images.start, rows.stop - rows.start, pitch
        found.append(Strip(x, y, window.origin, group, taps + group - 1, images, rows, shape))
    return found
