"""Convolution on the CPU: im2col a tile at a time, and matrix products.

``im2col.py`` has the plain version. This one never builds the whole matrix of columns: a tile of
about a thousand output pixels is gathered into a buffer that stays in the cache, multiplied, and
forgotten. Padding happens while a tile is gathered, so no padded image exists either. One
mechanism, ``_correlate``, serves every kernel, stride, padding and dilation; the input gradient is
the same mechanism again (see ``conv2d_input_grad``).

Tiles are independent, so they are spread over the threads. Where a map is so small that there are
too few tiles to share out (late layers, with their large weights), channels are shared out instead.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy as np

from tinyfcn.backend.cpu import threads
from tinyfcn.backend.cpu.layout import Array, channels_last, logical

Pair = tuple[int, int]

TILE_ELEMENTS = 600 << 10  # size of a column matrix: work for long enough that threads, which
TILE_PIXELS = (1024, 8192)  # wait for each other between tiles, do not; and bounds on its rows
LARGEST_TILE = 8 << 20  # elements; layers with huge kernels have fewer rows
MIN_TILES = 4  # with fewer, the threads share out channels
PARTIAL_ELEMENTS = 16 << 20  # bound on all partial sums of a weight gradient together
GROUP_CHANNELS = 16  # groups narrower than this are multiplied several at once


def conv2d(
    x: Array, weight: Array, bias: Array | None,
    stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> Array:  # fmt: skip
    """See ``Backend.conv2d``."""
    x, weight = channels_last(x), channels_last(weight)
    n, h, w, _ = x.shape
    oc, kh, kw, _ = weight.shape
    oh = (h + 2 * padding[0] - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    ow = (w + 2 * padding[1] - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    y = np.empty((n, oh, ow, oc), np.result_type(x, weight))
    origin = (-padding[0], -padding[1])
    for ins, outs, kernels in _dense_groups(weight, groups):
        _correlate(x[..., ins], kernels, y[..., outs], origin, stride, dilation)
    if bias is not None:
        _add_bias(y, bias)
    return logical(y)


def conv2d_input_grad(
    gy: Array, weight: Array, bias: Array | None, size: Pair,
    stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> Array:  # fmt: skip
    """See ``Backend.conv2d_input_grad``.

    Output pixel i of the convolution touches input row h = i·s − p + k·d for its kernel row k.
    Turned around: h receives from i = (h + p − k·d) / s for those k where that is a whole number.
    Which k those are depends on h mod s only. So the rows of one phase h mod s are a convolution of
    gy with every so manieth kernel row, in reverse, with stride 1. For stride 1 there is one phase,
    and the input gradient is a convolution with flipped kernels. Phases that read the same rows of
    gy are computed together: one product gives all their pixels, side by side.
    """
    gy, weight = channels_last(gy), channels_last(weight)
    n, oh, ow, _ = gy.shape
    channels = weight.shape[3] * groups
    gx = np.empty((n, *size, channels), np.result_type(gy, weight))
    small = n * oh * ow <= 2 * weight.shape[0] // groups
    for ins, outs, kernels in _dense_groups(weight, groups):
        target, source = gx[..., ins], gy[..., outs]
        if small:
            _scatter_taps(source, kernels, target, stride, padding, dilation)
            continue
        flipped = _swap_ends(kernels)  # (C, KH, KW, OC)
        rows = _phases(size[0], kernels.shape[1], stride[0], padding[0], dilation[0])
        cols = _phases(size[1], kernels.shape[2], stride[1], padding[1], dilation[1])
        for row in rows:
            for col in cols:
                _correlate_phases(source, flipped, target, stride, row, col)
    if bias is not None:
        _add_bias(gx, bias)
    return logical(gx)


def conv2d_weight_grad(
    x: Array, gy: Array, kernel: Pair,
    stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> Array:  # fmt: skip
    """See ``Backend.conv2d_weight_grad``."""
    x, gy = channels_last(x), channels_last(gy)
    c, oc = x.shape[3], gy.shape[3]
    gw = np.empty((oc, *kernel, c // groups), np.result_type(x, gy))
    origin = (-padding[0], -padding[1])
    merged = _merged_groups(c // groups, groups)
    parts = groups // merged
    dense = gw if groups == 1 else np.empty((oc // parts, *kernel, c // parts), gw.dtype)
    for i in range(parts):
        ins = slice(i * c // parts, (i + 1) * c // parts)
        outs = slice(i * oc // parts, (i + 1) * oc // parts)
        _weight_products(x[..., ins], gy[..., outs], dense, origin, stride, dilation)
        if groups > 1:
            _diagonal_blocks(dense, merged, gw[outs])
    return logical(gw)


def sum_pixels(x: Array) -> Array:
    """(N, C, H, W) → (C,): the sum over images and pixels, in fixed blocks."""
    rows = channels_last(x).reshape(-1, x.shape[1])  # (N·H·W, C)
    pieces = threads.blocks(len(rows), 8192)
    partial = np.empty((len(pieces), rows.shape[1]), rows.dtype)

    def task(i: int) -> None:
        piece = rows[pieces[i]]
        partial[i] = np.ones((1, len(piece)), rows.dtype) @ piece

    threads.parallel_for(task, len(pieces))
    return partial.sum(axis=0)


# ---- one tile ----


class _Tiles:
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
        n, oh, self.ow = shape
        self.depth = math.prod(kernel) * x.shape[3]
        pixels = min(max(TILE_ELEMENTS // self.depth, TILE_PIXELS[0]), TILE_PIXELS[1])
        pixels = min(
            pixels, LARGEST_TILE // self.depth, max(256, -(-n * oh * self.ow // MIN_TILES))
        )
        pixels = max(pixels, 1)
        images = threads.blocks(n, max(1, pixels // (oh * self.ow)))
        rows = threads.blocks(oh, max(1, pixels // self.ow))
        self.places = [(i, r) for i in images for r in rows] if n else []

    def columns(self, index: int, scratch: _Scratch) -> Array:
        """The windows of tile ``index`` as a matrix (pixels, KH·KW·C); valid until the next."""
        images, rows = self.places[index]
        count = images.stop - images.start, rows.stop - rows.start
        (kh, kw), (sh, sw), (dh, dw) = self.kernel, self.stride, self.dilation
        c = self.x.shape[3]
        top, left = self.origin[0] + rows.start * sh, self.origin[1]
        height, width = (
            (count[1] - 1) * sh + (kh - 1) * dh + 1,
            (self.ow - 1) * sw + (kw - 1) * dw + 1,
        )
        region = self._region(images, top, left, height, width, scratch)
        s_n, s_h, s_w, s_c = region.strides
        windows = np.lib.stride_tricks.as_strided(
            region,
            (*count, self.ow, kh, kw, c),
            (s_n, s_h * sh, s_w * sw, s_h * dh, s_w * dw, s_c),
            writeable=False,
        )
        pixels = count[0] * count[1] * self.ow
        if kh == kw == 1:
            image = _rows_of(windows[:, :, :, 0, 0])
            if image is not None:
                return image  # the image itself is the matrix
        columns = scratch.get("columns", pixels * self.depth, self.x.dtype)
        np.copyto(columns.reshape(windows.shape), windows)
        return columns.reshape(pixels, self.depth)  # (pixels, KH·KW·C)

    def _region(
        self, images: slice, top: int, left: int, height: int, width: int, scratch: _Scratch
    ) -> Array:
        """x[images, top : top + height, left : left + width], with zeros outside the image."""
        _, h, w, c = self.x.shape
        if top >= 0 and left >= 0 and top + height <= h and left + width <= w:
            return self.x[images, top : top + height, left : left + width]
        count = images.stop - images.start
        region = scratch.get("region", count * height * width * c, self.x.dtype)
        region = region.reshape(count, height, width, c)
        y0, y1 = (min(max(edge, 0), height) for edge in (-top, h - top))
        x0, x1 = (min(max(edge, 0), width) for edge in (-left, w - left))
        region[:, :y0] = 0
        region[:, y1:] = 0
        region[:, y0:y1, :x0] = 0
        region[:, y0:y1, x1:] = 0
        region[:, y0:y1, x0:x1] = self.x[images, top + y0 : top + y1, left + x0 : left + x1]
        return region


class _Scratch:
    """Buffers that a thread uses again for the next tile; they go when the op is done."""

    def __init__(self) -> None:
        self._local = threads.threading.local()

    def get(self, name: str, size: int, dtype: Any) -> Array:
        buffer = getattr(self._local, name, None)
        if buffer is None or buffer.size < size:
            buffer = np.empty(size, dtype)
            setattr(self._local, name, buffer)
        return buffer[:size]


def _rows_of(block: Array) -> Array | None:
    """(n, rows, width, C) as a matrix (pixels, C) over the same memory, where it lies so."""
    n, h, w, c = block.shape
    s_n, s_h, s_w, s_c = block.strides
    even = (h == 1 or s_h == w * s_w) and (n == 1 or s_n == h * w * s_w)
    if not even or (c > 1 and s_c != block.itemsize):
        return None
    return np.lib.stride_tricks.as_strided(block, (n * h * w, c), (s_w, block.itemsize))


# ---- all tiles ----


def _correlate(
    x: Array, weight: Array, y: Array, origin: Pair, stride: Pair, dilation: Pair
) -> None:
    """y[n, i, j] = Σ over k, l of W[:, k, l] · x[n, origin + (i, j)·stride + (k, l)·dilation].

    x (N, H, W, C), zero outside; weight (OC, KH, KW, C), contiguous; y (N, OH, OW, OC), written.
    """
    oc, kh, kw, c = weight.shape
    tiles = _Tiles(x, y.shape[:3], (kh, kw), origin, stride, dilation)
    kernels = weight.reshape(oc, -1)  # (OC, KH·KW·C)
    scratch = _Scratch()
    if len(tiles.places) >= MIN_TILES or oc < 2 * MIN_TILES:

        def tile_task(i: int) -> None:
            images, rows = tiles.places[i]
            _product(tiles.columns(i, scratch), kernels, y[images, rows])

        threads.parallel_for(tile_task, len(tiles.places))
        return
    pieces = threads.blocks(oc, -(-oc // MIN_TILES))
    for i, (images, rows) in enumerate(tiles.places):
        columns, block = tiles.columns(i, scratch), y[images, rows]

        def piece_task(j: int, columns: Array = columns, block: Array = block) -> None:
            _product(columns, kernels[pieces[j]], block[..., pieces[j]])

        threads.parallel_for(piece_task, len(pieces))


def _product(columns: Array, kernels: Array, block: Array) -> None:
    """block (n, rows, OW, OC) = columns (pixels, depth) · kernelsᵀ, straight into its memory."""
    rows = _rows_of(block)
    if rows is not None:
        np.matmul(columns, kernels.T, out=rows)
    else:
        np.matmul(columns.reshape(*block.shape[:3], -1), kernels.T, out=block)


def _weight_products(
    x: Array, gy: Array, gw: Array, origin: Pair, stride: Pair, dilation: Pair
) -> None:
    """gw (OC, KH, KW, C) = Σ over tiles of gyᵀ · columns."""
    oc, kh, kw, c = gw.shape
    tiles = _Tiles(x, gy.shape[:3], (kh, kw), origin, stride, dilation)
    total = gw.reshape(oc, -1)  # (OC, KH·KW·C)
    count = len(tiles.places)
    scratch = _Scratch()

    def add(i: int, out: Array, first: bool, columns: Array, channels: slice) -> None:
        images, rows = tiles.places[i]
        block = gy[images, rows, :, channels]
        flat = _rows_of(block)
        if flat is None:
            flat = block.reshape(-1, block.shape[3])  # (pixels, OC)
        if first:
            np.matmul(flat.T, columns, out=out)
        else:
            product = scratch.get("product", out.size, out.dtype).reshape(out.shape)
            out += np.matmul(flat.T, columns, out=product)

    # Partial sums belong to fixed runs of tiles and are added in order: the bits of the result do
    # not depend on the number of threads.
    runs = threads.blocks(count, max(1, -(-count // 8), -(-count * total.size // PARTIAL_ELEMENTS)))
    if count >= MIN_TILES and len(runs) >= MIN_TILES:
        partial = np.empty((len(runs), *total.shape), total.dtype)

        def run_task(r: int) -> None:
            for i in range(runs[r].start, runs[r].stop):
                columns = tiles.columns(i, scratch)
                add(i, partial[r], i == runs[r].start, columns, slice(None))

        threads.parallel_for(run_task, len(runs))
        np.sum(partial, axis=0, out=total)
        return
    if count == 0:
        total[...] = 0
    pieces = threads.blocks(oc, -(-oc // MIN_TILES))
    for i in range(count):
        columns = tiles.columns(i, scratch)

        def piece_task(j: int, i: int = i, columns: Array = columns) -> None:
            add(i, total[pieces[j]], i == 0, columns, pieces[j])

        threads.parallel_for(piece_task, len(pieces))


def _scatter_taps(
    gy: Array, weight: Array, gx: Array, stride: Pair, padding: Pair, dilation: Pair
) -> None:
    """gx = Σ over kernel elements of (gy · W[:, kh, kw]), each added where that element lies.

    The other way to the input gradient, for small maps with large weights: it reads the weights
    once, as they lie, while flipping them would cost more than the products themselves.
    """
    n, h, w, c = gx.shape
    oh, ow = gy.shape[1:3]
    pieces = threads.blocks(c, max(32, -(-c // MIN_TILES)))

    def task(piece: int) -> None:
        channels = pieces[piece]
        target = gx[..., channels]
        target[...] = 0
        for i in range(weight.shape[1]):
            rows, hs = _landing(oh, h, stride[0], i * dilation[0] - padding[0])
            for j in range(weight.shape[2]):
                cols, ws = _landing(ow, w, stride[1], j * dilation[1] - padding[1])
                if rows.start < rows.stop and cols.start < cols.stop:
                    source = gy[:, rows, cols]
                    flat = source.reshape(-1, source.shape[3])  # (pixels, OC)
                    part = flat @ weight[:, i, j, channels]  # (pixels, channels of this piece)
                    target[:, hs, ws] += part.reshape(*source.shape[:3], part.shape[1])

    threads.parallel_for(task, len(pieces))


def _landing(count: int, size: int, stride: int, offset: int) -> tuple[slice, slice]:
    """The outputs i in range(count) with 0 ≤ i·stride + offset < size, and where they land."""
    first = max(0, -(offset // stride))
    last = min(count, (size - 1 - offset) // stride + 1)
    start = first * stride + offset
    return slice(first, last), slice(start, max(start, (last - 1) * stride + offset + 1), stride)


# ---- phases of a strided input gradient ----


class _Phases(NamedTuple):
    """Neighbouring phases of one axis that read the same elements of gy."""

    first: int  # pixel of the first phase; the others follow it
    taps: list[slice]  # for each phase the kernel elements that reach it, in reverse order
    count: int  # pixels of each phase
    origin: int | None  # where in gy the first element reads for the first pixel; None: nowhere
    step: int  # distance in gy from one such element to the next


def _phases(n: int, k: int, s: int, p: int, d: int) -> list[_Phases]:
    """Every pixel of range(n), sorted by h mod s; see ``conv2d_input_grad``."""
    period = s // math.gcd(s, d)  # kernel elements k and k + period land in the same phase

    def reaching(start: int) -> list[int]:
        return [t for t in range(k) if (start + p - t * d) % s == 0]

    def reads(start: int) -> tuple[int | None, int, int]:
        taps = reaching(start)
        origin = (start + p - taps[-1] * d) // s if taps else None
        return origin, len(taps), len(range(start, n, s))

    groups = []
    for (origin, length, count), starts in itertools.groupby(range(min(s, n)), reads):
        first, *others = starts
        taps = []
        for start in (first, *others) if length else ():
            # The last element reads furthest back in gy, so in reverse order positions rise.
            last = reaching(start)[-1]
            end = last - length * period
            taps.append(slice(last, end if end >= 0 else None, -period))
        groups.append(
            _Phases(
                first, taps or [slice(0, 0)] * (1 + len(others)), count, origin, period * d // s
            )
        )
    return groups


def _correlate_phases(
    gy: Array, flipped: Array, gx: Array, stride: Pair, row: _Phases, col: _Phases
) -> None:
    """All pixels of gx that belong to these phases; flipped (C, KH, KW, OC)."""
    n, _, _, c = gx.shape
    rows, cols = len(row.taps), len(col.taps)
    s_n, s_h, s_w, s_c = gx.strides
    pixels = np.lib.stride_tricks.as_strided(
        gx[:, row.first :, col.first :],
        (n, row.count, rows, col.count, cols, c),
        (s_n, stride[0] * s_h, s_h, stride[1] * s_w, s_w, s_c),
    )
    if row.origin is None or col.origin is None:
        pixels[...] = 0  # no kernel element ever lands here
        return
    taps = np.stack([flipped[:, a, b] for a in row.taps for b in col.taps])
    kernels = taps.reshape(-1, *taps.shape[2:])  # (rows·cols·C, KH', KW', OC)
    origin, step = (row.origin, col.origin), (row.step, col.step)
    if rows == cols == 1:
        _correlate(gy, kernels, pixels[:, :, 0, :, 0], origin, (1, 1), step)
        return
    product = np.empty((n, row.count, col.count, len(kernels)), gx.dtype)
    _correlate(gy, kernels, product, origin, (1, 1), step)
    product = product.reshape(n, row.count, col.count, rows, cols, c).transpose(0, 1, 3, 2, 4, 5)
    bands = [(image, band) for image in range(n) for band in threads.blocks(row.count, 8)]

    def copy(i: int) -> None:
        pixels[bands[i]] = product[bands[i]]

    threads.parallel_for(copy, len(bands))


def _swap_ends(weight: Array) -> Array:
    """(OC, KH, KW, C) → (C, KH, KW, OC), copied in blocks over the threads."""
    swapped = np.empty(weight.shape[::-1][:1] + weight.shape[1:3] + weight.shape[:1], weight.dtype)
    pieces = threads.blocks(len(swapped), 64)

    def task(i: int) -> None:
        swapped[pieces[i]] = weight[..., pieces[i]].transpose(3, 1, 2, 0)

    threads.parallel_for(task, len(pieces))
    return swapped


# ---- groups ----


def _merged_groups(channels: int, groups: int) -> int:
    """How many groups of that many input channels are multiplied at once."""
    merged = max(1, min(groups, GROUP_CHANNELS // channels))
    while groups % merged:
        merged -= 1
    return merged


def _dense_groups(weight: Array, groups: int) -> list[tuple[slice, slice, Array]]:
    """Cut a grouped convolution into dense ones: (input channels, output channels, weight).

    Narrow groups (a depthwise convolution has one channel each) starve a matrix product; several
    are merged into one block-diagonal weight, whose zeros cost less than the narrowness did.
    """
    oc, kh, kw, c = weight.shape
    if groups == 1:
        return [(slice(None), slice(None), weight)]
    merged = _merged_groups(c, groups)
    per = oc // groups
    parts = []
    for first in range(0, groups, merged):
        dense = np.zeros((per * merged, kh, kw, c * merged), weight.dtype)
        for g in range(merged):
            dense[g * per : (g + 1) * per, :, :, g * c : (g + 1) * c] = weight[
                (first + g) * per : (first + g + 1) * per
            ]
        ins = slice(first * c, (first + merged) * c)
        parts.append((ins, slice(first * per, (first + merged) * per), dense))
    return parts


def _diagonal_blocks(dense: Array, merged: int, out: Array) -> None:
    """The blocks of a merged weight gradient that belong to the groups themselves."""
    per, c = len(dense) // merged, dense.shape[3] // merged
    for g in range(merged):
        rows = slice(g * per, (g + 1) * per)
        out[rows] = dense[rows, :, :, g * c : (g + 1) * c]


def _add_bias(y: Array, bias: Array) -> None:
    pieces = [(i, r) for i in range(len(y)) for r in threads.blocks(y.shape[1], 64)]

    def task(i: int) -> None:
        image, rows = pieces[i]
        y[image, rows] += bias

    threads.parallel_for(task, len(pieces))
