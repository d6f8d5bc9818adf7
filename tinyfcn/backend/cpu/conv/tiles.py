"""im2col a tile at a time: the algorithm that serves every kernel, stride, padding and dilation.

``im2col.py`` has the plain version. This one never builds the whole matrix of columns: the windows
behind some thousand output pixels are gathered into a buffer that stays in the cache, multiplied,
and forgotten. Padding happens while a tile is gathered. One mechanism, ``correlate``, does the
forward pass; the input gradient is the same mechanism again (``phases.py``).

Tiles are independent, so they are spread over the threads. Where a map is so small that there are
too few tiles to share out (late layers, with their large weights), channels are shared out instead.
"""

from __future__ import annotations

import math

import numpy as np

from tinyfcn.backend.cpu import threads
from tinyfcn.backend.cpu.conv.window import Finish, Pair, Scratch, Window, pixel_rows, region
from tinyfcn.backend.cpu.layout import Array

TILE_ELEMENTS = 600 << 10  # size of a column matrix: work for long enough that threads, which
TILE_PIXELS = (1024, 8192)  # wait for each other between tiles, do not; and bounds on its rows
LARGEST_TILE = 8 << 20  # elements; layers with huge kernels have fewer rows
MIN_TILES = 4  # with fewer, the threads share out channels
PARTIAL_ELEMENTS = 16 << 20  # bound on all partial sums of a weight gradient together


def applies(kernel: Pair, window: Window) -> bool:
    """Always."""
    return True


def forward(x: Array, weight: Array, finish: Finish, window: Window, y: Array) -> None:
    """y = finish(conv(x, weight))."""
    origin = (-window.padding[0], -window.padding[1])
    correlate(x, weight, finish, y, origin, window.stride, window.dilation)


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
    """

    def __init__(
        self, x: Array, shape: tuple[int, int, int], kernel: Pair,
        origin: Pair, stride: Pair, dilation: Pair,
    ) -> None:  # fmt: skip
        self.x, self.kernel, self.origin = x, kernel, origin
        self.stride, self.dilation = stride, dilation
        self.scratch = Scratch()
        n, oh, self.ow = shape
        self.depth = math.prod(kernel) * x.shape[3]
        pixels = min(max(TILE_ELEMENTS // self.depth, TILE_PIXELS[0]), TILE_PIXELS[1])
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


def correlate(
    x: Array, weight: Array, finish: Finish, y: Array,
    origin: Pair, stride: Pair, dilation: Pair,
) -> None:  # fmt: skip
    """y[n, i, j] = Σ over k, l of W[:, k, l] · x[n, origin + (i, j)·stride + (k, l)·dilation].

    x (N, H, W, C), zero outside; weight (OC, KH, KW, C), contiguous; y (N, OH, OW, OC), written.
    """
    oc, kh, kw, _ = weight.shape
    tiles = Tiles(x, y.shape[:3], (kh, kw), origin, stride, dilation)
    kernels = weight.reshape(oc, -1)  # (OC, KH·KW·C)
    if len(tiles.places) >= MIN_TILES or oc < 2 * MIN_TILES:

        def tile_task(i: int) -> None:
            block = y[tiles.places[i]]
            _product(tiles.columns(i), kernels, block)
            finish(block)

        threads.parallel_for(tile_task, len(tiles.places))
        return
    pieces = threads.blocks(oc, -(-oc // MIN_TILES))
    for i, place in enumerate(tiles.places):
        columns, block = tiles.columns(i), y[place]

        def piece_task(j: int, columns: Array = columns, block: Array = block) -> None:
            part = block[..., pieces[j]]
            _product(columns, kernels[pieces[j]], part)
            finish(part, pieces[j])

        threads.parallel_for(piece_task, len(pieces))


def _product(columns: Array, kernels: Array, block: Array) -> None:
    """block (n, rows, OW, OC) = columns (pixels, depth) · kernelsᵀ, straight into its memory."""
    rows = pixel_rows(block)
    if rows is not None:
        np.matmul(columns, kernels.T, out=rows)
    else:
        np.matmul(columns.reshape(*block.shape[:3], -1), kernels.T, out=block)


def weight_grad(x: Array, gy: Array, window: Window, gw: Array) -> None:
    """gw (OC, KH, KW, C) = Σ over tiles of gyᵀ · columns."""
    oc, kh, kw, _ = gw.shape
    origin = (-window.padding[0], -window.padding[1])
    tiles = Tiles(x, gy.shape[:3], (kh, kw), origin, window.stride, window.dilation)
    total = gw.reshape(oc, -1)  # (OC, KH·KW·C)
    count = len(tiles.places)

    def add(i: int, columns: Array, channels: slice, out: Array, first: bool) -> None:
        block = gy[tiles.places[i]][..., channels]
        grads = pixel_rows(block)
        if grads is None:
            grads = block.reshape(-1, block.shape[3])  # (pixels, OC)
        if first:
            np.matmul(grads.T, columns, out=out)
        else:
            product = tiles.scratch.get("product", out.shape, out.dtype)
            out += np.matmul(grads.T, columns, out=product)

    # Partial sums belong to fixed runs of tiles and are added in order: the bits of the result do
    # not depend on the number of threads.
    runs = threads.blocks(count, max(1, -(-count // 8), -(-count * total.size // PARTIAL_ELEMENTS)))
    if len(runs) >= MIN_TILES:
        partial = np.empty((len(runs), *total.shape), total.dtype)

        def run_task(r: int) -> None:
            for i in range(runs[r].start, runs[r].stop):
                add(i, tiles.columns(i), slice(None), partial[r], i == runs[r].start)

        threads.parallel_for(run_task, len(runs))
        np.sum(partial, axis=0, out=total)
        return
    if count == 0:
        total[...] = 0
    pieces = threads.blocks(oc, -(-oc // MIN_TILES))
    for i in range(count):
        columns = tiles.columns(i)

        def piece_task(j: int, i: int = i, columns: Array = columns) -> None:
            add(i, columns, pieces[j], total[pieces[j]], i == 0)

        threads.parallel_for(piece_task, len(pieces))
