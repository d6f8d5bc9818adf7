"""Winograd's F(2, 3) down the columns, im2col along the rows: for kernels that are 3 high.

``winograd_squares.py`` saves multiplications in both directions and pays with transforms that touch
every number many times; between few channels these cost as much as they save. Here two output rows
come from four input rows d0 … d3, which are long stretches of memory and quickly added:

    y0 = m0 + m1 + m2,   y1 = m1 − m2 − m3,
    m0 = (d0 − d2) ∗ g0,   m1 = (d1 + d2) ∗ (g0 + g1 + g2) / 2,
    m3 = (d1 − d3) ∗ g2,   m2 = (d2 − d1) ∗ (g0 − g1 + g2) / 2,

with the rows g0, g1, g2 of the kernel and ∗ a convolution of one row, done as in ``tiles.py`` by a
matrix of columns: 4 products for two rows instead of 6. The constants are ½ and ±1: the result is
as good as a direct one.
"""

from __future__ import annotations

import numpy as np

from tinyfcn.backend.cpu.conv.window import Pair, Scratch, Window, region, windows
from tinyfcn.backend.cpu.conv.winograd import Block, Winograd
from tinyfcn.backend.cpu.layout import Array

_COMBINED = ((np.subtract, 0, 2), (np.add, 1, 2), (np.subtract, 2, 1), (np.subtract, 1, 3))


class Rows(Winograd):
    """F(2, 3) down the columns: a tile is a pixel and the one below."""

    tile = (2, 1)
    kernel = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    shares_points = False

    def applies(self, kernel: Pair, window: Window) -> bool:
        """Kernels of three rows, without stride."""
        return kernel[0] == 3 and window.stride == (1, 1)

    def gather(self, x: Array, block: Block, window: Window, scratch: Scratch, out: Array) -> None:
        """The columns of d0 − d2, d1 + d2, d2 − d1 and d1 − d3."""
        (n, pairs, ow), c, step = block.shape, x.shape[3], window.dilation[1]
        kw = out.shape[2] // c
        span = (kw - 1) * step + 1
        x, (top, left) = block.phase_of(x, window.origin)
        first = max(0, left)
        last = max(first, min(x.shape[2], left + ow + span - 1))
        top += 2 * block.rows.start
        rows = region(x, block.images, top, first, 2 * pairs + 2, last - first, scratch)
        d = [rows[:, k : k + 2 * pairs - 1 : 2] for k in range(4)]
        points = scratch.get("points", (4, n, pairs, ow + span - 1, c), x.dtype)
        points[..., : first - left, :] = 0  # what is added up is padded, not what it is made of
        points[..., last - left :, :] = 0
        for point, (function, a, b) in zip(points, _COMBINED, strict=True):
            function(d[a], d[b], out=point[:, :, first - left : last - left])
        seen = windows(points.reshape(4 * n, pairs, -1, c), (pairs, ow), (1, kw), (1, 1), (1, step))
        np.copyto(out.reshape(seen.shape), seen)

    def spread(self, gy: Array, block: Block, scratch: Scratch, out: Array) -> None:
        """g0, g0 + g1, g0 − g1 and −g1 of each pair of rows."""
        rows = self.pixels(gy, block, (0, 0), (0, 0), scratch)
        even, odd = rows[:, 0::2], rows[:, 1::2]
        grads = out.reshape(4, *even.shape)
        grads[0] = even
        np.add(even, odd, out=grads[1])
        np.subtract(even, odd, out=grads[2])
        np.negative(odd, out=grads[3])

    def interpolate(self, products: Array, block: Block, scratch: Scratch, rows: Array) -> None:
        m0, m1, m2, m3 = products.reshape(4, *block.shape, -1)
        for row, function, a, b, c in ((0, np.add, m0, m1, m2), (1, np.subtract, m1, m2, m3)):
            function(a, b, out=a)
            target = rows[:, row::2]
            h, w = target.shape[1:3]
            function(a[:, :h, :w], c[:, :h, :w], out=target)
