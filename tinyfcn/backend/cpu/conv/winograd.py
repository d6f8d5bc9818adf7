"""Winograd's minimal filtering: 3×3 convolutions of stride 1 with fewer multiplications.

One row of m outputs of a 3-tap filter g over m + 2 inputs d needs 3m multiplications if done
directly. It can be had from the product of two polynomials, evaluated at m + 2 points, multiplied
point by point and interpolated: y = Aᵀ [(G g) ⊙ (Bᵀ d)], m + 2 multiplications. In two dimensions,
for m × m outputs and tiles of t × t inputs, t = m + 2:

    Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A

With m = 2 that is 16 multiplications instead of 36, with m = 4 36 instead of 144. Summed over
channels, the multiplications at each of the t² points are a matrix product of their own, (tiles ×
C) by (C × OC): that is where the time goes. The transforms multiply by small constants; flattened
over the t² points they are products with the Kronecker square of B, G or A.

The gradient with respect to the input is the same convolution with flipped kernels. The gradient
with respect to the kernels is the transposed map: Gᵀ [(A gy Aᵀ) ⊙ (Bᵀ d B)] G, summed over tiles.

A dilation of D is D² convolutions without one, each of every D-th pixel of every D-th row.

Rounding: the constants of m = 2 are 0, ±½ and ±1, and its results are as good as direct ones; those
of m = 4 reach 5 and 1/24 and cost about one decimal digit in float32.

Source: Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR 2016, section 4.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyfcn.backend.cpu import threads
from tinyfcn.backend.cpu.conv.window import Finish, Pair, Scratch, Window, region
from tinyfcn.backend.cpu.layout import Array

BLOCK_ELEMENTS = 1 << 19  # of the transformed tiles of one task, for the cache
BLOCK_TILES = 256  # at least: fewer rows make slow matrix products
FEW_TILES = 1024  # up to here, and from so many channels on, the threads share out the t² points
MANY_CHANNELS = 512  # and not the blocks of tiles: the kernels at all points would fill the cache
GROUP_ELEMENTS = 1 << 23  # of the transformed tiles that are shared out so
RUNS = 4  # partial sums of a weight gradient
HALVES = 2  # that it is multiplied in at least: rounding grows with the length of a sum

_BT: dict[int, list[list[float]]] = {
    2: [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
    4: [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
}
_G: dict[int, list[list[float]]] = {
    2: [[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]],
    4: [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
}
_AT: dict[int, list[list[float]]] = {
    2: [[1, 1, 1, 0], [0, 1, -1, -1]],
    4: [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
}


class Transforms(NamedTuple):
    """The matrices of F(m×m, 3×3), each as its Kronecker square, for flattened tiles."""

    data: Array  # (t², t²): Bᵀ ⊗ Bᵀ
    kernel: Array  # (t², 9): G ⊗ G
    output: Array  # (m², t²): Aᵀ ⊗ Aᵀ


class Winograd:
    """F(m×m, 3×3) with m = 2 or 4."""

    def __init__(self, m: int) -> None:
        self.m, self.t = m, m + 2

    def applies(self, kernel: Pair, window: Window) -> bool:
        """3×3 kernels without stride."""
        return kernel == (3, 3) and window.stride == (1, 1)

    def forward(self, x: Array, weight: Array, finish: Finish, window: Window, y: Array) -> None:
        """y = finish(conv(x, weight))."""
        points = self._kernel_points(weight, flip=False).transpose(0, 2, 1)  # (t², C, OC)
        origin = -window.padding[0], -window.padding[1]
        self._correlate(x, points, finish, origin, window.dilation, y)

    def input_grad(self, gy: Array, weight: Array, window: Window, gx: Array) -> None:
        """The convolution of gy with kernels turned by 180°, their channels swapped."""
        points = self._kernel_points(weight, flip=True)  # (t², OC, C)
        (ph, pw), (dh, dw) = window.padding, window.dilation
        self._correlate(gy, points, Finish(), (ph - 2 * dh, pw - 2 * dw), window.dilation, gx)

    def weight_grad(self, x: Array, gy: Array, window: Window, gw: Array) -> None:
        """gw = Gᵀ [Σ over tiles of (A gy Aᵀ) ⊙ (Bᵀ x B)] G."""
        oc, _, _, c = gw.shape
        tt, scratch, matrices = self.t**2, Scratch(), self._transforms(x.dtype)
        origin = -window.padding[0], -window.padding[1]
        plan = self._plan(gy.shape[:3], window.dilation, c, oc, HALVES)
        # Partial sums belong to fixed runs of groups and are added in order: the same bits for any
        # number of threads.
        count = RUNS if plan.outer is threads.parallel_for else 1
        runs = threads.split(len(plan.groups), -(-len(plan.groups) // count))
        sums = np.zeros((len(runs), tt, oc, c), gw.dtype)

        def run_task(item: tuple[slice, Array]) -> None:
            run, total = item
            for group in plan.groups[run]:
                data = scratch.get("data", (tt, group.tiles, c), x.dtype)
                grads = scratch.get("grads", (tt, group.tiles, oc), gy.dtype)

                def transform(item: Placed, data=data, grads=grads) -> None:
                    block, part = item
                    self._points(x, block, origin, self.t, matrices.data, scratch, data[:, part])
                    self._points(
                        gy, block, (0, 0), self.m, matrices.output.T, scratch, grads[:, part]
                    )

                def multiply(points: slice, data=data, grads=grads, total=total) -> None:
                    product = scratch.get("product", total[points].shape, gw.dtype)
                    grads_t = grads[points].transpose(0, 2, 1)  # (points, OC, tiles)
                    total[points] += np.matmul(grads_t, data[points], out=product)

                plan.inner(transform, group.placed)
                plan.inner(multiply, plan.points)

        plan.outer(run_task, [*zip(runs, sums, strict=True)])

        def finish(piece: slice) -> None:
            total = sums[:, :, piece].sum(axis=0)  # (t², OC of this piece, C)
            flat = matrices.kernel.T @ total.reshape(tt, -1)  # (9, OC·C)
            gw[piece] = flat.reshape(3, 3, -1, c).transpose(2, 0, 1, 3)

        threads.parallel_for(finish, threads.split(oc, -(-oc // (2 * RUNS))))

    # ---- steps ----

    def _correlate(
        self, x: Array, points: Array, finish: Finish, origin: Pair, dilation: Pair, y: Array
    ) -> None:
        """y[n, i, j] = Σ over k, l of W[:, k, l] · x[n, origin + (i, j) + (k, l)·dilation]."""
        tt, c, oc = points.shape
        scratch, matrices = Scratch(), self._transforms(x.dtype)
        plan = self._plan(y.shape[:3], dilation, c, oc)

        def task(group: Group) -> None:
            data = scratch.get("data", (tt, group.tiles, c), x.dtype)
            products = scratch.get("products", (tt, group.tiles, oc), y.dtype)

            def transform(item: Placed) -> None:
                block, part = item
                self._points(x, block, origin, self.t, matrices.data, scratch, data[:, part])

            def multiply(k: slice) -> None:
                np.matmul(data[k], points[k], out=products[k])

            def interpolate(item: Placed) -> None:
                block, place = item
                part = products[:, place]  # (t², tiles, OC)
                if finish.bias is not None:
                    part[self.t + 1] += finish.bias  # the point that counts 1 in every output
                tiles = scratch.get("tiles", (self.m**2, part[0].size), y.dtype)
                np.matmul(matrices.output, part.reshape(tt, -1), out=tiles)
                if finish.relu:
                    np.maximum(tiles, 0, out=tiles)
                self._write(tiles, y, block)

            plan.inner(transform, group.placed)
            plan.inner(multiply, plan.points)
            plan.inner(interpolate, group.placed)

        plan.outer(task, plan.groups)

    def _plan(
        self, shape: tuple[int, ...], dilation: Pair, c: int, oc: int, least: int = 1
    ) -> Plan:
        """Who does what, for an output (N, OH, OW), in ``least`` groups or more."""
        m, channels = self.m, max(c, oc)
        n, rows, columns = (
            shape[0],
            *(-(-s // (m * d)) for s, d in zip(shape[1:], dilation, strict=True)),
        )
        phases = list(itertools.product(range(dilation[0]), range(dilation[1])))

        def blocks(tiles: int) -> list[Block]:
            images = threads.split(n, max(1, tiles // (rows * columns)))
            bands = threads.split(rows, max(1, tiles // columns))
            found = itertools.product(phases, images, bands) if n else ()
            return [Block(phase, dilation, i, band, columns) for phase, i, band in found]

        count, tt = len(phases) * n * rows * columns, self.t**2
        if count > FEW_TILES and channels < MANY_CHANNELS:
            tiles = max(BLOCK_TILES, BLOCK_ELEMENTS // (tt * channels))
            groups = [Group.of([block]) for block in blocks(tiles)]
            return Plan(groups, threads.parallel_for, _one_by_one, [slice(0, tt)])
        tiles = max(BLOCK_TILES, GROUP_ELEMENTS // (tt * channels))
        tiles = max(1, min(tiles, -(-count // least)))
        small = blocks(max(16, tiles // RUNS))
        length = max(1, tiles // max((block.tiles for block in small), default=1))
        groups = [Group.of(small[run]) for run in threads.split(len(small), length)]
        return Plan(groups, _one_by_one, threads.parallel_for, threads.split(tt, 1))

    def _transforms(self, dtype: Any) -> Transforms:
        squares = (np.kron(a, a).astype(dtype) for a in (_BT[self.m], _G[self.m], _AT[self.m]))
        return Transforms(*squares)

    def _kernel_points(self, weight: Array, flip: bool) -> Array:
        """(OC, 3, 3, C) → (t², OC, C): the kernels at the t² points."""
        oc, _, _, c = weight.shape
        kernel = self._transforms(weight.dtype).kernel
        kernel = np.ascontiguousarray(kernel[:, ::-1] if flip else kernel)
        points = np.empty((len(kernel), oc, c), weight.dtype)

        def task(piece: slice) -> None:
            part = weight[piece].transpose(1, 2, 0, 3).reshape(9, -1)  # (9, OC·C)
            points[:, piece] = (kernel @ part).reshape(len(kernel), -1, c)

        threads.parallel_for(task, threads.split(oc, max(8, -(-oc // (2 * RUNS)))))
        return points

    def _points(
        self, x: Array, block: Block, origin: Pair, size: int, matrix: Array, scratch: Scratch,
        out: Array,
    ) -> None:  # fmt: skip
        """out (t², tiles, C) = the block's tiles of size × size, m apart, at the t² points.

        ``origin`` is the pixel of x at which the first tile of all begins; x is zero outside.
        """
        m, c = self.m, x.shape[3]
        x, (top, left) = block.phase_of(x, origin)
        count, rows, columns = block.shape
        height, width = (rows - 1) * m + size, (columns - 1) * m + size
        pixels = region(x, block.images, top + block.rows.start * m, left, height, width, scratch)
        s_n, s_h, s_w, s_c = pixels.strides
        view = np.lib.stride_tricks.as_strided(
            pixels,
            (size, size, count, rows, columns, c),
            (s_h, s_w, s_n, m * s_h, m * s_w, s_c),
            writeable=False,
        )
        tiles = scratch.get("gathered", view.shape, x.dtype)
        np.copyto(tiles, view)
        np.matmul(matrix, tiles.reshape(size * size, -1), out=out.reshape(len(matrix), -1))

    def _write(self, tiles: Array, y: Array, block: Block) -> None:
        """Put tiles (m², images·rows·columns·OC) into y, less what sticks out."""
        m = self.m
        y, _ = block.phase_of(y, (0, 0))
        tiles = tiles.reshape(m, m, *block.shape, y.shape[3])
        band = y[block.images, block.rows.start * m : block.rows.stop * m]
        for a, b in itertools.product(range(m), repeat=2):
            target = band[:, a::m, b::m]
            target[...] = tiles[a, b, :, : target.shape[1], : target.shape[2]]


class Block(NamedTuple):
    """A block of tiles: of one phase of the dilation, some images, some rows, all columns."""

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

    def phase_of(self, x: Array, origin: Pair) -> tuple[Array, Pair]:
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
    """What the threads share out: the groups (``outer``), or the work within each (``inner``)."""

    groups: list[Group]
    outer: Callable[[Callable[[Any], None], Sequence[Any]], object]
    inner: Callable[[Callable[[Any], None], Sequence[Any]], object]
    points: list[slice]  # of the t², multiplied at once


def _one_by_one(task: Callable[[Any], None], items: Sequence[Any]) -> None:
    for item in items:
        task(item)
