"""Winograd's minimal filtering: convolutions of stride 1 with fewer multiplications.

One row of m outputs of a 3-tap filter g over m + 2 inputs d needs 3m multiplications if done
directly. It can be had from the product of two polynomials, evaluated at m + 2 points, multiplied
point by point and interpolated: y = Aᵀ [(G g) ⊙ (Bᵀ d)], m + 2 multiplications. Summed over
channels, the multiplications at each point are a matrix product of their own, (tiles × C) by
(C × OC): that is where the time goes. ``winograd_squares.py`` does so in both directions,
``winograd_rows.py`` down the columns alone; here is what both share.

The gradient with respect to the input is the same convolution with flipped kernels. The gradient
with respect to the kernels is the transposed map, Gᵀ [(A gy) ⊙ (Bᵀ d)], summed over tiles.

A dilation of D is D² convolutions without one, each of every D-th pixel of every D-th row.

Source: Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR 2016, section 4.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from tinyfcn.backend.cpu.conv.window import Finish, Pair, Scratch, Window, region
from tinyfcn.backend.cpu.layout import Array
from tinyfcn.backend.cpu.threads import parallel_for, places, split

BLOCK_ELEMENTS = 1 << 20  # of the transformed tiles of one task, for the cache
BLOCK_TILES = 256  # at least: fewer rows make slow matrix products
FEW_TILES = 1024  # up to here, and from so many channels on, the threads share out the points
MANY_CHANNELS = 512  # and not the blocks of tiles: the kernels at all points would fill the cache
GROUP_ELEMENTS = 1 << 23  # of the transformed tiles that are shared out so
RUNS = 8  # partial sums of a weight gradient
HALVES = 2  # that it is multiplied in at least: rounding grows with the length of a sum


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


Placed = tuple[Block, slice]  # a block, and its tiles among those of a group


class Group(NamedTuple):
    """Blocks that are multiplied together."""

    placed: list[Placed]
    tiles: int

    @classmethod
    def of(cls, blocks: list[Block]) -> Group:
        ends = list(itertools.accumulate((block.tiles for block in blocks), initial=0))
        parts = [slice(a, b) for a, b in itertools.pairwise(ends)]
        return cls([*zip(blocks, parts, strict=True)], ends[-1])


class Plan(NamedTuple):
    """What the threads share out: the runs, and in each group the blocks and the points.

    There are many runs with groups of a single block, or one run of larger groups.
    """

    runs: list[list[Group]]
    points: list[slice]  # multiplied at once


class Winograd(ABC):
    """What the algorithms share. A subclass says what its tiles are and how they are transformed.

    Attributes:
        tile: outputs of a tile, (height, width).
        kernel: G, (points, elements): from the elements of a column or of the whole kernel.
        shares_points: whether few tiles or many channels make the threads share out the points.
    """

    tile: Pair
    kernel: Array
    shares_points: bool

    def pixels(self, x: Array, block: Block, origin: Pair, beyond: Pair, scratch: Scratch) -> Array:
        """The pixels of x under a block's tiles, and so many beyond; zero outside the image."""
        x, (top, left) = block.phase_of(x, origin)
        _, rows, columns = block.shape
        height, width = rows * self.tile[0] + beyond[0], columns * self.tile[1] + beyond[1]
        top += block.rows.start * self.tile[0]
        return region(x, block.images, top, left, height, width, scratch)

    @abstractmethod
    def gather(self, x: Array, block: Block, window: Window, scratch: Scratch, out: Array) -> None:
        """out (points, tiles, depth) = Bᵀ d, of the pixels of x that the kernels meet."""

    @abstractmethod
    def spread(self, gy: Array, block: Block, scratch: Scratch, out: Array) -> None:
        """out (points, tiles, OC) = A gy, the adjoint of interpolate."""

    @abstractmethod
    def interpolate(self, products: Array, block: Block, scratch: Scratch, rows: Array) -> None:
        """rows = Aᵀ products, (points, tiles, OC), less what sticks out of the output's rows."""

    def forward(self, x: Array, weight: Array, finish: Finish, window: Window, y: Array) -> None:
        """y = finish(conv(x, weight))."""
        oc, _, rest, c = self._elements(weight).shape
        points = np.empty((len(self.kernel), oc, rest, c), weight.dtype)
        self._to_points(weight, points)
        matrices = points.reshape(len(points), oc, -1).transpose(0, 2, 1)
        self._correlate(x, matrices, finish, window, y)

    def input_grad(self, gy: Array, weight: Array, window: Window, gx: Array) -> None:
        """The convolution of gy with kernels turned by 180°, their channels swapped."""
        oc, _, rest, c = self._elements(weight).shape
        points = np.empty((len(self.kernel), rest, oc, c), weight.dtype)
        self._to_points(weight[:, ::-1, ::-1], points.transpose(0, 2, 1, 3))
        matrices = points.reshape(len(points), -1, c)
        self._correlate(gy, matrices, Finish(), window.turned(weight.shape[1:3]), gx)

    def weight_grad(self, x: Array, gy: Array, window: Window, gw: Array) -> None:
        """gw = Gᵀ [Σ over tiles of (A gy) ⊙ (Bᵀ x)]."""
        target, scratch = self._elements(gw), Scratch()
        oc, elements, rest, c = target.shape
        plan = self._plan(gy, window, rest * max(c, oc), sums=True)
        # Partial sums belong to fixed runs of groups and are added in order: the same bits for any
        # number of threads.
        sums = np.zeros((len(plan.runs), len(self.kernel), oc, rest * c), gw.dtype)

        def add(group: Group, total: Array) -> None:
            data = scratch.get("data", (len(total), group.tiles, rest * c), x.dtype)
            grads = scratch.get("grads", (len(total), group.tiles, oc), gy.dtype)

            def transform(item: Placed) -> None:
                block, part = item
                self.gather(x, block, window, scratch, data[:, part])
                self.spread(gy, block, scratch, grads[:, part])

            def multiply(points: slice) -> None:
                product = scratch.get("product", total[points].shape, gw.dtype)
                grads_t = grads[points].transpose(0, 2, 1)  # (points, OC, tiles)
                total[points] += np.matmul(grads_t, data[points], out=product)

            parallel_for(transform, group.placed)
            parallel_for(multiply, plan.points)

        def sum_run(item: tuple[list[Group], Array]) -> None:
            run, total = item
            for group in run:
                add(group, total)

        def finish(piece: slice) -> None:
            total = sums[:, :, piece].sum(axis=0)  # (points, OC of this piece, rest · C)
            flat = self.kernel.T.astype(gw.dtype) @ total.reshape(len(total), -1)
            target[piece] = flat.reshape(elements, -1, rest, c).swapaxes(0, 1)

        parallel_for(sum_run, [*zip(plan.runs, sums, strict=True)])
        parallel_for(finish, split(oc, -(-oc // RUNS)))

    def _correlate(
        self, x: Array, matrices: Array, finish: Finish, window: Window, y: Array
    ) -> None:
        """y = finish(the correlation of x with kernels at the points: (points, depth, OC))."""
        count, depth, oc = matrices.shape
        plan = self._plan(y, window, depth // x.shape[3] * max(x.shape[3], oc))
        scratch, m = Scratch(), self.tile[0]

        def convolve(group: Group) -> None:
            data = scratch.get("data", (count, group.tiles, depth), x.dtype)
            products = scratch.get("products", (count, group.tiles, oc), y.dtype)

            def transform(item: Placed) -> None:
                block, part = item
                self.gather(x, block, window, scratch, data[:, part])

            def multiply(k: slice) -> None:
                np.matmul(data[k], matrices[k], out=products[k])

            def write(item: Placed) -> None:
                block, part = item
                pixels, _ = block.phase_of(y)
                rows = pixels[block.images, m * block.rows.start : m * block.rows.stop]
                self.interpolate(products[:, part], block, scratch, rows)
                finish(rows)

            parallel_for(transform, group.placed)
            parallel_for(multiply, plan.points)
            parallel_for(write, group.placed)

        def convolve_run(run: list[Group]) -> None:
            for group in run:
                convolve(group)

        parallel_for(convolve_run, plan.runs)

    def _plan(self, y: Array, window: Window, depth: int, sums: bool = False) -> Plan:
        """Who does what for an output (N, OH, OW, OC), with ``depth`` numbers a tile and point."""
        n, points = len(y), len(self.kernel)
        dh, dw = window.dilation
        dilation = dh, (dw if self.tile[1] > 1 else 1)  # one column a tile needs no phases
        rows, columns = (
            -(-s // (m * d)) for s, m, d in zip(y.shape[1:3], self.tile, dilation, strict=True)
        )
        phases = [(h, w) for h in range(dilation[0]) for w in range(dilation[1])]

        def blocks(tiles: int) -> list[Block]:
            found = itertools.product(phases, places(n, rows, tiles // columns))
            return [Block(phase, dilation, *place, columns) for phase, place in found]

        count = len(phases) * n * rows * columns
        if not self.shares_points or (count > FEW_TILES and depth < MANY_CHANNELS):
            tiles = max(BLOCK_TILES, BLOCK_ELEMENTS // (points * depth))
            groups = [Group.of([block]) for block in blocks(tiles)]
            length = -(-len(groups) // RUNS) if sums else 1
            return Plan([groups[run] for run in split(len(groups), length)], [slice(0, points)])
        tiles = max(BLOCK_TILES, GROUP_ELEMENTS // (points * depth))
        tiles = max(1, min(tiles, -(-count // HALVES) if sums else count))
        small = blocks(max(16, tiles // 4))
        length = tiles // max((block.tiles for block in small), default=1)
        groups = [Group.of(small[run]) for run in split(len(small), length)]
        return Plan([groups], split(points, 1))

    def _elements(self, weight: Array) -> Array:
        """(OC, KH, KW, C) → (OC, elements that are transformed, the rest, C), a view."""
        return weight.reshape(len(weight), self.kernel.shape[1], -1, weight.shape[3])

    def _to_points(self, weight: Array, points: Array) -> None:
        """points (points, OC, rest, C) = G weight."""
        elements, kernel = self._elements(weight), self.kernel.astype(weight.dtype)

        def task(piece: slice) -> None:
            part = elements[piece].swapaxes(0, 1)
            flat = kernel @ part.reshape(len(part), -1)
            points[:, piece] = flat.reshape(-1, *part.shape[1:])

        parallel_for(task, split(len(weight), max(8, -(-len(weight) // RUNS))))
