"""Winograd's F(m×m, 3×3): 3×3 kernels of stride 1 with fewer multiplications in both directions.

One row of m outputs of a 3-tap filter g over m + 2 inputs d needs 3m multiplications if done
directly. It can be had from the product of two polynomials, evaluated at m + 2 points, multiplied
point by point and interpolated: y = Aᵀ [(G g) ⊙ (Bᵀ d)], m + 2 multiplications. For m × m outputs
and tiles of t × t inputs, t = m + 2:

    Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A

With m = 2 that is 16 multiplications instead of 36, with m = 4 36 instead of 144. The transforms
multiply by small constants; flattened over the t² points they are products with the Kronecker
square of B, G or A. Summed over channels, the multiplications at each point are a matrix product of
their own, (tiles × C) by (C × OC): that is where the time goes.

The gradient with respect to the input is the same convolution with flipped kernels. The gradient
with respect to the kernels is the transposed map, Gᵀ [(A gy) ⊙ (Bᵀ d)], summed over tiles.

A dilation of D is D² convolutions without one, each of every D-th pixel of every D-th row.

Rounding: the constants of m = 2 are 0, ±½ and ±1, and its results are as good as direct ones; those
of m = 4 reach 5 and 1/24 and cost about one decimal digit in float32.

Source: Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR 2016, section 4.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np

from tinyfcn.backend.cpu.conv.window import Finish, Pair, Scratch, Window, region, windows
from tinyfcn.backend.cpu.layout import Array
from tinyfcn.backend.cpu.threads import parallel_for, places, split

POINTS = {2: (0, 1, -1), 4: (0, 1, -1, 2, -2)}  # where the polynomials are evaluated, besides ∞
GROUP_ELEMENTS = 1 << 22  # of the transformed tiles that are multiplied at once, for the cache
GROUP_TILES = 256  # at least: fewer rows make slow matrix products
BLOCK_TILES = 64  # transformed at once
OUTPUTS = 32  # whose kernels are transformed at once


class Block(NamedTuple):
    """Tiles side by side: of one phase of the dilation, some images, some rows, all columns."""

    phase: Pair
    dilation: Pair
    images: slice
    rows: slice
    columns: int

    @property
    def shape(self) -> tuple[int, int, int]:
        images, rows = self.images, self.rows
        return images.stop - images.start, rows.stop - rows.start, self.columns

    @property
    def tiles(self) -> int:
        return math.prod(self.shape)

    def phase_of(self, x: Array, origin: Pair = (0, 0)) -> tuple[Array, Pair]:
        """The pixels of x in this phase, counted from ``origin``, and where that is among them."""
        (h, top), (w, left) = (
            divmod(o + p, d)[::-1]
            for o, p, d in zip(origin, self.phase, self.dilation, strict=True)
        )
        return x[:, h :: self.dilation[0], w :: self.dilation[1]], (top, left)


Group = list[tuple[Block, slice]]  # blocks that are multiplied together, and their tiles


def matrices(points: tuple[int, ...]) -> tuple[Array, Array, Array]:
    """Bᵀ, G and Aᵀ as Toom and Cook have them: G and A evaluate polynomials at the points, B holds
    those that are 0 at all points but one. At ∞ the highest coefficient counts.

    Example:
        >>> data, kernel, output = matrices((0, 1, -1))
        >>> output
        array([[ 1.,  1.,  1.,  0.],
               [ 0.,  1., -1.,  1.]])
    """
    n = len(points)
    data, kernel, output = np.zeros((n + 1, n + 1)), np.zeros((n + 1, 3)), np.zeros((n - 1, n + 1))
    for i, point in enumerate(points):
        others = points[:i] + points[i + 1 :]
        data[i, :n] = np.poly(others)[::-1]
        kernel[i] = point ** np.arange(3) / math.prod(point - other for other in others)
        output[:, i] = point ** np.arange(n - 1)
    data[n], kernel[n, 2], output[-1, n] = np.poly(points)[::-1], 1, 1
    return data, kernel, output


class Winograd:
    """F(m×m, 3×3) with m = 2 or 4."""

    def __init__(self, m: int) -> None:
        self.m = m
        self.data, self.kernel, self.output = (np.kron(a, a) for a in matrices(POINTS[m]))

    def applies(self, kernel: Pair, window: Window) -> bool:
        """3×3 kernels without stride."""
        return kernel == (3, 3) and window.stride == (1, 1)

    def forward(self, x: Array, weight: Array, finish: Finish, window: Window, y: Array) -> None:
        """y = finish(conv(x, weight))."""
        self._correlate(x, self._to_points(weight).transpose(0, 2, 1), finish, window, y)

    def input_grad(self, gy: Array, weight: Array, window: Window, gx: Array) -> None:
        """The convolution of gy with kernels turned by 180°, their channels swapped."""
        points = self._to_points(weight[:, ::-1, ::-1])
        self._correlate(gy, points, Finish(), window.turned(weight.shape[1:3]), gx)

    def weight_grad(self, x: Array, gy: Array, window: Window, gw: Array) -> None:
        """gw = Gᵀ [Σ over tiles of (A gy) ⊙ (Bᵀ x)]."""
        (oc, _, _, c), count, scratch = gw.shape, len(self.kernel), Scratch()
        total = np.zeros((count, oc, c), gw.dtype)

        def add(group: Group) -> None:
            tiles = group[-1][1].stop
            data = scratch.get("data", (count, tiles, c), x.dtype)
            grads = scratch.get("grads", (count, tiles, oc), gy.dtype)

            def transform(item: tuple[Block, slice]) -> None:
                block, part = item
                self._transform(x, block, window.origin, self.data, scratch, data[:, part])
                self._transform(gy, block, (0, 0), self.output.T, scratch, grads[:, part])

            def multiply(k: int) -> None:
                total[k] += grads[k].T @ data[k]

            parallel_for(transform, group)
            parallel_for(multiply, range(count))

        def finish(piece: slice) -> None:
            flat = self.kernel.T.astype(gw.dtype) @ total[:, piece].reshape(count, -1)
            gw[piece] = flat.reshape(3, 3, -1, c).transpose(2, 0, 1, 3)

        for group in self._groups(gy, window, max(c, oc)):
            add(group)
        parallel_for(finish, split(oc, OUTPUTS))

    def _correlate(self, x: Array, points: Array, finish: Finish, window: Window, y: Array) -> None:
        """y = finish(the correlation of x with kernels at the points: (points, C, OC))."""
        count, c, oc = points.shape
        scratch, m = Scratch(), self.m

        def convolve(group: Group) -> None:
            tiles = group[-1][1].stop
            data = scratch.get("data", (count, tiles, c), x.dtype)
            products = scratch.get("products", (count, tiles, oc), y.dtype)

            def transform(item: tuple[Block, slice]) -> None:
                block, part = item
                self._transform(x, block, window.origin, self.data, scratch, data[:, part])

            def multiply(k: int) -> None:
                np.matmul(data[k], points[k], out=products[k])

            def write(item: tuple[Block, slice]) -> None:
                block, part = item
                pixels, _ = block.phase_of(y)
                rows = pixels[block.images, m * block.rows.start : m * block.rows.stop]
                self._interpolate(products[:, part], block, scratch, rows)
                finish(rows)

            parallel_for(transform, group)
            parallel_for(multiply, range(count))
            parallel_for(write, group)

        for group in self._groups(y, window, max(c, oc)):
            convolve(group)

    def _groups(self, y: Array, window: Window, depth: int) -> list[Group]:
        """The tiles of an output (N, OH, OW, OC), with ``depth`` numbers a tile and point."""
        rows, columns = (
            -(-size // (self.m * d)) for size, d in zip(y.shape[1:3], window.dilation, strict=True)
        )
        parts = places(len(y), rows, BLOCK_TILES // columns)
        found = itertools.product(np.ndindex(window.dilation), parts)
        blocks = [Block(phase, window.dilation, *place, columns) for phase, place in found]
        tiles = max(GROUP_TILES, GROUP_ELEMENTS // (len(self.kernel) * depth))
        length = tiles // max((block.tiles for block in blocks), default=1)
        groups = []
        for run in (blocks[part] for part in split(len(blocks), length)):
            ends = itertools.accumulate(block.tiles for block in run)
            groups.append([(b, slice(e - b.tiles, e)) for b, e in zip(run, ends, strict=True)])
        return groups if blocks else []

    def _to_points(self, weight: Array) -> Array:
        """(OC, 3, 3, C) → (points, OC, C), G weight."""
        oc, _, _, c = weight.shape
        points = np.empty((len(self.kernel), oc, c), weight.dtype)
        kernel = self.kernel.astype(weight.dtype)

        def task(piece: slice) -> None:
            elements = weight[piece].transpose(1, 2, 0, 3).reshape(9, -1)
            np.matmul(kernel, elements, out=points[:, piece].reshape(len(points), -1))

        parallel_for(task, split(oc, OUTPUTS))
        return points

    def _transform(
        self, x: Array, block: Block, origin: Pair, matrix: Array, scratch: Scratch, out: Array
    ) -> None:
        """out (points, tiles, C) = matrix · the block's tiles of size × size pixels, m apart; x is
        zero outside."""
        m, size = self.m, math.isqrt(matrix.shape[1])
        x, (top, left) = block.phase_of(x, origin)
        _, rows, columns = block.shape
        height, width = (count * m + size - m for count in (rows, columns))
        top += block.rows.start * m
        pixels = region(x, block.images, top, left, height, width, scratch)
        seen = windows(pixels, (rows, columns), (size, size), (m, m)).transpose(3, 4, 0, 1, 2, 5)
        tiles = scratch.get("gathered", seen.shape, x.dtype)
        np.copyto(tiles, seen)
        flat = tiles.reshape(size * size, -1)
        np.matmul(matrix.astype(x.dtype), flat, out=out.reshape(len(matrix), -1))

    def _interpolate(self, products: Array, block: Block, scratch: Scratch, rows: Array) -> None:
        """rows = Aᵀ products, (points, tiles, OC), less what sticks out of the output's rows."""
        m, (points, _, oc) = self.m, products.shape
        outputs = scratch.get("outputs", (m, m, *block.shape, oc), products.dtype)
        matrix = self.output.astype(products.dtype)
        np.matmul(matrix, products.reshape(points, -1), out=outputs.reshape(m * m, -1))
        for a, b in itertools.product(range(m), repeat=2):
            target = rows[:, a::m, b::m]
            target[...] = outputs[a, b, :, : target.shape[1], : target.shape[2]]
