"""im2col a tile at a time: the algorithm that serves every kernel, stride, padding and dilation.

``im2col.py`` has the plain version. This one never builds the whole matrix of columns: the windows
behind some thousand output pixels are gathered into a buffer that stays in the cache, multiplied,
and forgotten. Padding happens while a tile is gathered. One mechanism, ``multiply``, does the
forward pass; the input gradient is the same mechanism again (``phases.py``).

Tiles are independent, so they are spread over the threads. Where a map is so small that there are
too few tiles to share out (late layers, with their large weights), channels are shared out instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyfcn.backend.cpu import threads
from tinyfcn.backend.cpu.conv.window import Finish, Pair, Scratch, Window, pixel_rows, region
from tinyfcn.backend.cpu.layout import Array

TILE_ELEMENTS = 1200 << 10  # size of a column matrix: work for long enough that threads, which
TILE_PIXELS = (1024, 8192)  # wait for each other between tiles, do not; and bounds on its rows
LARGEST_TILE = 8 << 20  # elements; layers with huge kernels have fewer rows
MIN_TILES = 4  # with fewer, the threads share out channels
NARROW = 64  # output channels up to which a weight gradient is multiplied as (depth, OC)
PARTIAL_ELEMENTS = 16 << 20  # bound on all partial sums of a weight gradient together


def applies(kernel: Pair, window: Window) -> bool:
    """Always."""
    return True


def forward(x: Array, weight: Array, finish: Finish, window: Window, y: Array) -> None:
    """y = finish(conv(x, weight))."""
    origin = (-window.padding[0], -window.padding[1])
    shape, (kh, kw) = y.shape[:3], weight.shape[1:3]
    tiles = Tiles(x, shape, (kh, kw), origin, window.stride, window.dilation, Scratch())
    multiply([Product(tiles, weight.reshape(len(weight), -1).T, y)], finish)


def input_grad(gy: Array, weight: Array, window: Window, gx: Array) -> None:
    """By phases, or for few pixels tap by tap."""
    from tinyfcn.backend.cpu.conv import phases, taps

    few_pixels = math.prod(gy.shape[:3]) <= 2 * len(weight)
    (taps if few_pixels else phases).input_grad(gy, weight, window, gx)


class Tiles:
    """The output pixels of a correlation, cut into tiles; gathers the columns of each.

    Args:
        x: (N, H, W, C).
        shape: (N, OH, OW) of the output.
        kernel, stride, dilation: as in the convolution.
        origin: the row and column of x under the first kernel element at output pixel (0, 0);
            negative where padding comes first.
        scratch: holds the columns; may be shared by several, one tile of one at a time.
        outputs: elements of a pixel that go through a buffer too, and bound the tile.
    """

    def __init__(
        self, x: Array, shape: tuple[int, int, int], kernel: Pair,
        origin: Pair, stride: Pair, dilation: Pair,
        scratch: Scratch, outputs: int = 0,
    ) -> None:  # fmt: skip
        self.x, self.kernel, self.origin = x, kernel, origin
        self.stride, self.dilation = stride, dilation
        self.scratch = scratch
        n, oh, self.ow = shape
        self.depth = math.prod(kernel) * x.shape[3]
        pixels = min(max(TILE_ELEMENTS // max(self.depth, outputs), TILE_PIXELS[0]), TILE_PIXELS[1])
        share = max(256, -(-n * oh * self.ow // MIN_TILES))
        pixels = max(1, min(pixels, LARGEST_TILE // self.depth, share))
        images = threads.blocks(n, max(1, pixels // (oh * self.ow)))
        rows = threads.blocks(oh, max(1, pixels // self.ow))
        self.places = [(i, r) for i in images for r in rows] if n else []

    def columns(self, index: int) -> Array:
        """The windows of tile ``index``, (pixels, KH·KW·C); valid until this thread's next."""
        images, rows = self.places[index]
        count = images.stop - images.start, rows.stop - rows.start
        (kh, kw), (sh, sw), (dh, dw) = self.kernel, self.stride, self.dilation
        c = self.x.shape[3]
        top, left = self.origin[0] + rows.start * sh, self.origin[1]
        height = (count[1] - 1) * sh + (kh - 1) * dh + 1
        width = (self.ow - 1) * sw + (kw - 1) * dw + 1
        block = region(self.x, images, top, left, height, width, self.scratch)
        s_n, s_h, s_w, s_c = block.strides
        windows = np.lib.stride_tricks.as_strided(
            block,
            (*count, self.ow, kh, kw, c),
            (s_n, s_h * sh, s_w * sw, s_h * dh, s_w * dw, s_c),
            writeable=False,
        )
        columns = self.scratch.get("columns", windows.shape, self.x.dtype)
        np.copyto(columns, windows)
        return columns.reshape(-1, self.depth)  # (pixels, KH·KW·C)


class Product(NamedTuple):
    """y = columns · kernels, a tile at a time."""

    tiles: Tiles
    kernels: Array  # (KH·KW·C, OC)
    y: Array  # (N, OH, OW, …), as many elements a pixel as OC, in any memory order

    def tile(self, index: int, finish: Finish, matmul: Callable[..., Any] = np.matmul) -> None:
        """One tile of y."""
        block = self.y[self.tiles.places[index]]
        rows = pixel_rows(block) if block.ndim == 4 else None
        shape = (block.size // self.kernels.shape[1], self.kernels.shape[1])
        out = self.tiles.scratch.get("product", shape, block.dtype) if rows is None else rows
        matmul(self.tiles.columns(index), self.kernels, out=out)
        if rows is None:
            block[...] = out.reshape(block.shape)
        finish(block)


def multiply(products: Sequence[Product], finish: Finish) -> None:
    """Products into disjoint memory; the threads share out the tiles of all of them."""
    tiles = [(product, i) for product in products for i in range(len(product.tiles.places))]
    narrow = all(product.kernels.shape[1] < 2 * MIN_TILES for product in products)
    if len(tiles) >= MIN_TILES or narrow:

        def task(i: int) -> None:
            product, index = tiles[i]
            product.tile(index, finish)

        threads.parallel_for(task, len(tiles))
    else:
        for product, index in tiles:
            product.tile(index, finish, _share_channels)


def _share_channels(columns: Array, kernels: Array, out: Array) -> None:
    """out = columns · kernels, the columns of out shared out."""
    pieces = threads.blocks(out.shape[1], -(-out.shape[1] // MIN_TILES))

    def task(i: int) -> None:
        np.matmul(columns, kernels[:, pieces[i]], out=out[:, pieces[i]])

    threads.parallel_for(task, len(pieces))


def weight_grad(x: Array, gy: Array, window: Window, gw: Array) -> None:
    """gw (OC, KH, KW, C) = Σ over tiles of gyᵀ · columns."""
    oc, kh, kw, _ = gw.shape
    origin = (-window.padding[0], -window.padding[1])
    tiles = Tiles(x, gy.shape[:3], (kh, kw), origin, window.stride, window.dilation, Scratch())
    total = gw.reshape(oc, -1)  # (OC, KH·KW·C)
    count = len(tiles.places)
    narrow = oc <= NARROW  # then up to a third faster; NumPy multiplies in the order of ``out``

    def add(i: int, columns: Array, channels: slice, out: Array, first: bool) -> None:
        block = gy[tiles.places[i]][..., channels]
        grads = pixel_rows(block)
        if grads is None:
            grads = block.reshape(-1, block.shape[3])  # (pixels, OC)
        if first:
            np.matmul(grads.T, columns, out=out)
        else:
            shape = out.shape[::-1] if narrow else out.shape
            product = tiles.scratch.get("product", shape, out.dtype)
            out += np.matmul(grads.T, columns, out=product.T if narrow else product)

    # Partial sums belong to fixed runs of tiles and are added in order: the bits of the result do
    # not depend on the number of threads.
    runs = threads.blocks(count, max(1, -(-count // 8), -(-count * total.size // PARTIAL_ELEMENTS)))
    if len(runs) >= MIN_TILES:
        shape = total.shape[::-1] if narrow else total.shape
        memory = np.empty((len(runs), *shape), total.dtype)
        partial = memory.swapaxes(1, 2) if narrow else memory  # (runs, OC, KH·KW·C)

        def run_task(r: int) -> None:
            for i in range(runs[r].start, runs[r].stop):
                add(i, tiles.columns(i), slice(None), partial[r], i == runs[r].start)

        threads.parallel_for(run_task, len(runs))
        channels = threads.blocks(oc, max(1, oc * threads.BLOCK // partial.size))

        def sum_task(j: int) -> None:
            np.sum(partial[:, channels[j]], axis=0, out=total[channels[j]])

        threads.parallel_for(sum_task, len(channels))
        return
    if count == 0:
        total[...] = 0
    pieces = threads.blocks(oc, -(-oc // MIN_TILES))
    for i in range(count):
        columns = tiles.columns(i)

        def piece_task(j: int, i: int = i, columns: Array = columns) -> None:
            add(i, columns, pieces[j], total[pieces[j]], i == 0)

        threads.parallel_for(piece_task, len(pieces))
