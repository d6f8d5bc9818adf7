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

Rounding: the constants of m = 2 are 0, ±½ and ±1, and its results are as good as direct ones; those
of m = 4 reach 5 and 1/24 and cost about one decimal digit in float32.

Source: Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR 2016, section 4.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy as np

from tinyfcn.backend.cpu import threads
from tinyfcn.backend.cpu.conv.window import Finish, Pair, Scratch, Window, region
from tinyfcn.backend.cpu.layout import Array

BLOCK_ELEMENTS = 1 << 19  # of the transformed tiles of one task, for the cache
BLOCK_TILES = 256  # at least: fewer rows make slow matrix products
FEW_TILES = 1024  # up to here the threads share out the t² points instead of blocks of tiles
RUNS = 4  # partial sums of a weight gradient

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
        self.m = m

    def applies(self, kernel: Pair, window: Window) -> bool:
        """3×3 kernels without stride or dilation."""
        return kernel == (3, 3) and window.stride == window.dilation == (1, 1)

    def forward(self, x: Array, weight: Array, finish: Finish, window: Window, y: Array) -> None:
        """y = finish(conv(x, weight))."""
        points = self._kernel_points(weight, flip=False).transpose(0, 2, 1)  # (t², C, OC)
        self._correlate(x, points, finish, (-window.padding[0], -window.padding[1]), y)

    def input_grad(self, gy: Array, weight: Array, window: Window, gx: Array) -> None:
        """The convolution of gy with kernels turned by 180°, their channels swapped."""
        points = self._kernel_points(weight, flip=True)  # (t², OC, C)
        self._correlate(gy, points, Finish(), (window.padding[0] - 2, window.padding[1] - 2), gx)

    def weight_grad(self, x: Array, gy: Array, window: Window, gw: Array) -> None:
        """gw = Gᵀ [Σ over tiles of (A gy Aᵀ) ⊙ (Bᵀ x B)] G."""
        m, t, scratch = self.m, self.m + 2, Scratch()
        oc, _, _, c = gw.shape
        matrices = self._transforms(x.dtype)
        places = self._places(gy.shape[:3], max(c, oc))
        origin = (-window.padding[0], -window.padding[1])
        if _count(places) <= FEW_TILES:
            data = self._all_points(x, places, origin, t, matrices.data)  # (t², tiles, C)
            grads = self._all_points(gy, places, (0, 0), m, matrices.output.T)  # (t², tiles, OC)
            # In two halves: rounding grows with the length of a sum.
            halves = threads.blocks(data.shape[1], max(1, -(-data.shape[1] // 2)))
            sums = np.empty((len(halves), t * t, oc, c), gw.dtype)

            def multiply(k: int) -> None:
                for half, out in zip(halves, sums, strict=True):
                    np.matmul(grads[k, half].T, data[k, half], out=out[k])

            threads.parallel_for(multiply, t * t)
        else:
            # Partial sums belong to fixed runs of blocks and are added in order: the same bits for
            # any number of threads.
            runs = threads.blocks(len(places), -(-len(places) // RUNS))
            sums = np.empty((len(runs), t * t, oc, c), gw.dtype)

            def task(r: int) -> None:
                for i in range(runs[r].start, runs[r].stop):
                    data = self._points(x, places[i], origin, t, matrices.data, scratch, "data")
                    grads = self._points(
                        gy, places[i], (0, 0), m, matrices.output.T, scratch, "grads"
                    ).transpose(0, 2, 1)  # (t², OC, tiles)
                    if i == runs[r].start:
                        np.matmul(grads, data, out=sums[r])
                    else:
                        product = scratch.get("product", sums[r].shape, gw.dtype)
                        sums[r] += np.matmul(grads, data, out=product)

            threads.parallel_for(task, len(runs))
        pieces = threads.blocks(oc, -(-oc // (2 * RUNS)))

        def finish(p: int) -> None:
            total = sums[:, :, pieces[p]].sum(axis=0)  # (t², OC of this piece, C)
            flat = matrices.kernel.T @ total.reshape(t * t, -1)  # (9, OC·C)
            gw[pieces[p]] = flat.reshape(3, 3, -1, c).transpose(2, 0, 1, 3)

        threads.parallel_for(finish, len(pieces))

    # ---- steps ----

    def _correlate(self, x: Array, points: Array, finish: Finish, origin: Pair, y: Array) -> None:
        """y[n, i, j] = Σ over k, l of W[:, k, l] · x[n, origin + (i + k, j + l)]."""
        t, oc, scratch = self.m + 2, points.shape[2], Scratch()
        matrices = self._transforms(x.dtype)
        places = self._places(y.shape[:3], max(points.shape[1:]))

        def put(products: Array, place: _Place) -> None:
            flat = products.reshape(t * t, -1)  # (t², tiles·OC)
            tiles = scratch.get("tiles", (self.m**2, flat.shape[1]), y.dtype)
            np.matmul(matrices.output, flat, out=tiles)
            finish(self._write(tiles, y, place))

        if _count(places) <= FEW_TILES:
            data = self._all_points(x, places, origin, t, matrices.data)  # (t², tiles, C)
            products = np.empty((*data.shape[:2], oc), y.dtype)

            def multiply(k: int) -> None:
                np.matmul(data[k], points[k], out=products[k])

            threads.parallel_for(multiply, t * t)
            parts = _parts(places)
            threads.parallel_for(lambda i: put(products[:, parts[i]], places[i]), len(places))
            return

        def task(i: int) -> None:
            data = self._points(x, places[i], origin, t, matrices.data, scratch, "data")
            products = scratch.get("products", (*data.shape[:2], oc), y.dtype)
            put(np.matmul(data, points, out=products), places[i])

        threads.parallel_for(task, len(places))

    def _transforms(self, dtype: Any) -> Transforms:
        squares = (np.kron(a, a).astype(dtype) for a in (_BT[self.m], _G[self.m], _AT[self.m]))
        return Transforms(*squares)

    def _kernel_points(self, weight: Array, flip: bool) -> Array:
        """(OC, 3, 3, C) → (t², OC, C): the kernels at the t² points."""
        oc, _, _, c = weight.shape
        kernel = self._transforms(weight.dtype).kernel
        kernel = np.ascontiguousarray(kernel[:, ::-1] if flip else kernel)
        points = np.empty((len(kernel), oc, c), weight.dtype)
        pieces = threads.blocks(oc, max(8, -(-oc // (2 * RUNS))))

        def task(p: int) -> None:
            part = weight[pieces[p]].transpose(1, 2, 0, 3).reshape(9, -1)  # (9, OC·C)
            points[:, pieces[p]] = (kernel @ part).reshape(len(kernel), -1, c)

        threads.parallel_for(task, len(pieces))
        return points

    def _places(self, shape: tuple[int, ...], channels: int) -> list[_Place]:
        """(N, OH, OW) cut into blocks of tiles of m × m."""
        n, rows, columns = shape[0], -(-shape[1] // self.m), -(-shape[2] // self.m)
        tiles = max(BLOCK_TILES, BLOCK_ELEMENTS // ((self.m + 2) ** 2 * channels))
        tiles = min(tiles, max(16, -(-n * rows * columns // RUNS)))
        images = threads.blocks(n, max(1, tiles // (rows * columns)))
        bands = threads.blocks(rows, max(1, tiles // columns))
        return [_Place(i, r, columns) for i in images for r in bands] if n else []

    def _points(
        self, x: Array, place: _Place, origin: Pair, size: int, matrix: Array,
        scratch: Scratch, name: str,
    ) -> Array:  # fmt: skip
        """(t², tiles, C): tiles of size × size of one block, at the t² points."""
        tiles = self._read(x, place, origin, size, scratch)  # (size², tiles·C)
        points = scratch.get(name, (len(matrix), tiles.shape[1]), x.dtype)
        return np.matmul(matrix, tiles, out=points).reshape(len(matrix), -1, x.shape[3])

    def _all_points(
        self, x: Array, places: list[_Place], origin: Pair, size: int, matrix: Array
    ) -> Array:
        """(t², tiles, C): the same for the tiles of all blocks, in memory of its own."""
        scratch, parts = Scratch(), _parts(places)
        points = np.empty((len(matrix), _count(places), x.shape[3]), x.dtype)

        def task(i: int) -> None:
            tiles = self._read(x, places[i], origin, size, scratch)  # (size², tiles·C)
            np.matmul(matrix, tiles, out=points[:, parts[i]].reshape(len(matrix), -1))

        threads.parallel_for(task, len(places))
        return points

    def _read(self, x: Array, place: _Place, origin: Pair, size: int, scratch: Scratch) -> Array:
        """Tiles of size × size, m apart, zero outside x: (size², images·rows·columns·C)."""
        m, c = self.m, x.shape[3]
        count, rows, columns = place.shape
        top, left = origin[0] + place.rows.start * m, origin[1]
        height, width = (rows - 1) * m + size, (columns - 1) * m + size
        block = region(x, place.images, top, left, height, width, scratch)
        s_n, s_h, s_w, s_c = block.strides
        view = np.lib.stride_tricks.as_strided(
            block,
            (size, size, count, rows, columns, c),
            (s_h, s_w, s_n, m * s_h, m * s_w, s_c),
            writeable=False,
        )
        tiles = scratch.get("gathered", view.shape, x.dtype)
        np.copyto(tiles, view)
        return tiles.reshape(size * size, -1)

    def _write(self, tiles: Array, y: Array, place: _Place) -> Array:
        """Put tiles (m², images·rows·columns·OC) into y, less what sticks out; gives that part."""
        m, oc = self.m, y.shape[3]
        block = y[place.images, place.rows.start * m : place.rows.stop * m]
        count, rows, columns = place.shape
        fits = block.shape[1] == rows * m and block.shape[2] == columns * m
        whole = block if fits else np.empty((count, rows * m, columns * m, oc), y.dtype)
        s_n, s_h, s_w, s_c = whole.strides
        shape = (m, m, count, rows, columns, oc)
        strides = (s_h, s_w, s_n, m * s_h, m * s_w, s_c)
        np.lib.stride_tricks.as_strided(whole, shape, strides)[...] = tiles.reshape(shape)
        if not fits:
            block[...] = whole[:, : block.shape[1], : block.shape[2]]
        return block


class _Place(NamedTuple):
    """A block of tiles: some images, some rows of tiles, all columns of tiles."""

    images: slice
    rows: slice
    columns: int

    @property
    def shape(self) -> tuple[int, int, int]:
        images, rows = self.images, self.rows
        return images.stop - images.start, rows.stop - rows.start, self.columns


def _parts(places: list[_Place]) -> list[slice]:
    """Where the tiles of each block stand when those of all are in a row."""
    ends = list(itertools.accumulate((math.prod(place.shape) for place in places), initial=0))
    return [slice(a, b) for a, b in itertools.pairwise(ends)]


def _count(places: list[_Place]) -> int:
    return sum(math.prod(place.shape) for place in places)
