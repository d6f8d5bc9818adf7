"""Winograd's F(m×m, 3×3): 3×3 kernels of stride 1 with fewer multiplications in both directions.

One row of m outputs of a 3-tap filter g over m + 2 inputs d needs 3m multiplications if done
directly. It can be had from the product of two polynomials, evaluated at m + 2 points, multiplied
point by point and interpolated: y = Aᵀ [(G g) ⊙ (Bᵀ d)], m + 2 multiplications. For m × m outputs
and tiles of t × t inputs, t = m + 2:

    Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A

With m = 2 that is 16 multiplications instead of 36, with m = 4 36 instead of 144. The transforms
add and subtract long rows of pixels, first down the columns and then along the rows; that of the
kernels is a product with the Kronecker square of G. Summed over channels, the multiplications at
each point are a matrix product of their own, (tiles × C) by (C × OC): that is where the time goes.

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

from tinyfcn.backend.cpu.conv.kept import Kept
from tinyfcn.backend.cpu.conv.window import Finish, Pair, Scratch, Window, region
from tinyfcn.backend.cpu.layout import Array
from tinyfcn.backend.cpu.threads import parallel_for, places, split

POINTS = {2: (0, 1, -1), 4: (0, 1, -1, 2, -2)}  # where the polynomials are evaluated, besides ∞
# Transformed tiles multiplied at once: so many elements, for the cache, but so many tiles at least.
GROUP_ELEMENTS, GROUP_TILES = 1 << 22, 256
BLOCK_ELEMENTS = 1 << 16  # of a point, of tiles that are transformed at once
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
Image = tuple[Array, Pair, Array]  # x, where its first tile begins, and the matrix for its tiles


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
        self.data, kernel, self.output = matrices(POINTS[m])
        self.kernel = np.kron(kernel, kernel)
        self._kept = Kept(lambda weight: self._to_points(weight.transpose(3, 1, 2, 0)))

    def applies(self, kernel: Pair, window: Window) -> bool:
        """3×3 kernels without stride."""
        return kernel == (3, 3) and window.stride == (1, 1)

    def forward(self, x: Array, weight: Array, finish: Finish, window: Window, y: Array) -> None:
        """y = finish(conv(x, weight))."""
        self._correlate(x, self._kept(weight), finish, window, y)

    def input_grad(self, gy: Array, weight: Array, window: Window, gx: Array) -> None:
        """The convolution of gy with kernels turned by 180°, their channels swapped."""
        points = self._to_points(weight[:, ::-1, ::-1])
        self._correlate(gy, points, Finish(), window.turned(weight.shape[1:3]), gx)

    def weight_grad(self, x: Array, gy: Array, window: Window, gw: Array) -> None:
        """gw = Gᵀ [Σ over tiles of (A gy) ⊙ (Bᵀ x)]."""
        (oc, _, _, c), count, scratch = gw.shape, len(self.kernel), Scratch()
        total = np.zeros((count, oc, c), gw.dtype)

        def multiply(point: tuple[Array, Array, Array]) -> None:
            total, data, grads = point
            total += grads.T @ data

        def finish(piece: slice) -> None:
            flat = self.kernel.T.astype(gw.dtype) @ total[:, piece].reshape(count, -1)
            gw[piece] = flat.reshape(3, 3, -1, c).transpose(2, 0, 1, 3)

        images = (x, window.origin, self.data), (gy, (0, 0), self.output.T)
        for group in self._groups(gy, window, max(c, oc)):
            tiles = self._tiles(group, scratch, *images)
            parallel_for(multiply, [*zip(total, *tiles, strict=True)])
        parallel_for(finish, split(oc, OUTPUTS))

    def _correlate(self, x: Array, points: Array, finish: Finish, window: Window, y: Array) -> None:
        """y = finish(the correlation of x with kernels at the points: (points, C, OC))."""
        (count, c, oc), scratch = points.shape, Scratch()

        def multiply(point: tuple[Array, Array, Array]) -> None:
            data, kernels, products = point
            np.matmul(data, kernels, out=products)

        def write(item: tuple[Block, Array]) -> None:
            block, products = item
            self._interpolate(products, block, finish, block.phase_of(y)[0])

        for group in self._groups(y, window, max(c, oc)):
            (data,) = self._tiles(group, scratch, (x, window.origin, self.data))
            products = scratch.get("products", (count, data.shape[1], oc), y.dtype)
            parallel_for(multiply, [*zip(data, points, products, strict=True)])
            parallel_for(write, [(block, products[:, part]) for block, part in group])

    def _tiles(self, group: Group, scratch: Scratch, *images: Image) -> list[Array]:
        """The group's tiles of each image, transformed: (points, tiles, C)."""
        shapes = [(len(self.kernel), group[-1][1].stop, x.shape[3]) for x, _, _ in images]
        found = [scratch.get(f"tiles{i}", s, images[i][0].dtype) for i, s in enumerate(shapes)]

        def task(item: tuple[Block, slice]) -> None:
            block, part = item
            for (x, origin, matrix), tiles in zip(images, found, strict=True):
                self._transform(x, block, origin, matrix, tiles[:, part])

        parallel_for(task, group)
        return found

    def _groups(self, y: Array, window: Window, depth: int) -> list[Group]:
        """The tiles of an output (N, OH, OW, OC), with ``depth`` numbers a tile and point."""
        rows, columns = (
            -(-size // (self.m * d)) for size, d in zip(y.shape[1:3], window.dilation, strict=True)
        )
        parts = places(len(y), rows, BLOCK_ELEMENTS // depth // columns)
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

    def _transform(self, x: Array, block: Block, origin: Pair, matrix: Array, out: Array) -> None:
        """out (points, tiles, C) = matrix · tile · matrixᵀ for the block's tiles of size × size
        pixels, m apart; x is zero outside.

        Every m-th column stands with its like: what is added is as long as a row of tiles.
        """
        m, (points, size), (n, rows, columns) = self.m, matrix.shape, block.shape
        x, (top, left) = block.phase_of(x, origin)
        top, width, scratch = top + m * block.rows.start, columns + (size - 1) // m, Scratch()
        down = np.empty((points, m, n, rows, width, x.shape[3]), x.dtype)
        for p in range(m):
            start, first = divmod(left + p, m)
            pixels = x[:, :, first::m]
            pixels = region(pixels, block.images, top, start, m * rows + size - m, width, scratch)
            parts = [pixels[:, k : k + m * rows - m + 1 : m] for k in range(size)]
            combine(matrix, parts, down[:, p])
        parts = [down[:, k % m, :, :, k // m : k // m + columns] for k in range(size)]
        combine(matrix, parts, out.reshape(points, points, *block.shape, -1).swapaxes(0, 1))

    def _interpolate(self, products: Array, block: Block, finish: Finish, y: Array) -> None:
        """finish(Aᵀ products A), (points, tiles, OC), less what sticks out of the output y."""
        m, points = self.output.shape
        parts = products.reshape(points, points, *block.shape, -1)
        down = np.empty((m, *parts.shape[1:]), products.dtype)
        combine(self.output, parts, down)
        pixels = np.empty((m, m, *parts.shape[2:]), products.dtype)
        combine(self.output, down.swapaxes(0, 1), pixels)  # (m columns, m rows, …)
        finish(pixels)
        rows = y[block.images, m * block.rows.start : m * block.rows.stop]
        for b, a in np.ndindex(m, m):
            target = rows[:, a::m, b::m]
            target[...] = pixels[b, a, :, : target.shape[1], : target.shape[2]]


def combine(matrix: Array, parts: Array | list[Array], out: Array) -> None:
    """out[i] = Σ over k of matrix[i, k] · parts[k]; every row has a positive number."""
    for row, target in zip(matrix.tolist(), out, strict=True):
        terms = [(c, part) for c, part in zip(row, parts, strict=True) if c]
        total = None
        for c, part in sorted(terms, key=lambda term: -term[0]):
            term = part if abs(c) == 1 else abs(c) * part
            add = np.add if c > 0 else np.subtract
            total = term if total is None else add(total, term, out=target)
        if total is not target:
            target[...] = total
