"""Columns a tile at a time, for ``tiles.py`` and ``phases.py``: products with an image's windows.

The window behind each output pixel, laid out as a row of a matrix: convolution is its product with
the kernels. The whole matrix (im2col) would be KH · KW times as large as the image, so it is never
built: the windows of some thousand pixels are gathered into a buffer, multiplied, and forgotten.
Padding happens meanwhile. One mechanism, ``multiply``, does forward pass and input gradient.

Tiles are independent, so they are spread over the threads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyfcn.backend.cpu import threads
from tinyfcn.backend.cpu.conv.products import tall_product
from tinyfcn.backend.cpu.conv.window import Finish, Pair, Scratch, Window, even, padded_windows
from tinyfcn.backend.cpu.layout import Array
from tinyfcn.backend.cpu.threads import Place

TILE_ELEMENTS = 1200 << 10  # size of a column matrix: work for long enough that threads, which
TILE_PIXELS = (1024, 8192)  # wait for each other between tiles, do not; and bounds on its rows
LARGEST_TILE = 8 << 20  # elements; layers with huge kernels have fewer rows


class Tiles:
    """The output pixels of a correlation, cut into tiles; gathers the columns of each.

    Args:
        x: (N, H, W, C).
        shape: (N, OH, OW) of the output.
        kernel, window: as in the convolution.
        groups: of the channels, each with columns of its own.
        outputs: elements of a pixel that go through a buffer too, and bound the tile.
        together: how many there are of its kind whose tiles the threads share out.
        scratch: holds the columns; may be shared by several, one tile of one at a time.
    """

    def __init__(
        self, x: Array, shape: tuple[int, int, int], kernel: Pair, window: Window,
        groups: int = 1, outputs: int = 0, together: int = 1, scratch: Scratch | None = None,
    ) -> None:  # fmt: skip
        self.x, self.kernel, self.window, self.groups = x, kernel, window, groups
        self.scratch = scratch or Scratch()
        moves = window.stride == (1, 1), window.padding == (0, 0), x.shape[1:3] == shape[1:]
        self.plain = kernel == (1, 1) and all(moves)  # columns lie in the image
        n, oh, self.ow = shape
        self.depth = math.prod(kernel) * x.shape[3]
        least, most = TILE_PIXELS[0] // groups, TILE_PIXELS[1]
        pixels = min(max(TILE_ELEMENTS // max(self.depth, outputs), least), most)
        pixels = min(pixels, LARGEST_TILE // self.depth)
        length = max(even(n * oh, max(1, pixels // self.ow), together), 256 // (self.ow * groups))
        self.places = threads.places(n, oh, length)

    def columns(self, place: Place, dtype: Any = None) -> Array:
        """The windows of a tile, (G, pixels, KH·KW·C/G); valid until this thread's next."""
        at, dtype = (*place, self.ow, self.kernel, self.window, self.scratch), dtype or self.x.dtype
        found = self.x[place] if self.plain else padded_windows(self.x, *at)
        columns = found = by_group(found, self.groups)
        if not self.plain or found.dtype != dtype or not found.flags.c_contiguous:
            columns = self.scratch.get("columns", found.shape, dtype)
            np.copyto(columns, found)
        return columns.reshape(self.groups, -1, self.depth // self.groups)


class Product(NamedTuple):
    """y = columns · kernels, a tile at a time."""

    tiles: Tiles
    kernels: Array  # (G, KH·KW·C/G, OC/G)
    y: Array  # (N, OH, OW, …), as many elements a pixel as OC, in any memory order

    def tile(self, place: Place, finish: Finish) -> None:
        """One tile of y."""
        block, (groups, _, outputs) = self.y[place], self.kernels.shape
        plain = block.ndim == 4 and block.dtype == self.kernels.dtype
        rows = _pixel_rows(block) if plain else None
        if rows is None:
            shape = groups, block.size // (groups * outputs), outputs
            out = self.tiles.scratch.get("product", shape, self.kernels.dtype)
        else:
            out = by_group(rows, groups)
        tall_product(self.tiles.columns(place, self.kernels.dtype), self.kernels, out=out)
        if rows is None:
            target = by_group(block, groups)
            target[...] = out.reshape(target.shape)
        finish(block)


def multiply(products: Sequence[Product], finish: Finish) -> None:
    """Products into disjoint memory; the threads share out the tiles of all of them."""
    tiles = [(product, place) for product in products for place in product.tiles.places]
    threads.parallel_for(lambda tile: tile[0].tile(tile[1], finish), tiles)


def by_group(x: Array, groups: int) -> Array:
    """(…, C) → (G, …, C/G), a view."""
    last = x.ndim - 1
    return x.reshape(*x.shape[:-1], groups, -1).transpose(last, *range(last), last + 1)


def _pixel_rows(block: Array) -> Array | None:
    """(n, rows, width, C) as a matrix (pixels, C) over the same memory, where it lies so."""
    n, h, w, c = block.shape
    if block.flags.c_contiguous:
        return block.reshape(-1, c)
    s_n, s_h, s_w, s_c = block.strides
    even = (h == 1 or s_h == w * s_w) and (n == 1 or s_n == h * w * s_w)
    if not even or (c > 1 and s_c != block.itemsize):
        return None
    return np.lib.stride_tricks.as_strided(block, (n * h * w, c), (s_w, block.itemsize))
