"""im2col a tile at a time: the algorithm that serves every kernel, stride, padding and dilation."""

from __future__ import annotations

import math

import numpy as np

from tinyfcn.backend.cpu import threads
from tinyfcn.backend.cpu.conv import phases, taps
from tinyfcn.backend.cpu.conv.columns import MIN_TILES, Product, Tiles, multiply
from tinyfcn.backend.cpu.conv.window import Finish, Pair, Scratch, Window
from tinyfcn.backend.cpu.layout import Array

NARROW = 64  # output channels up to which a weight gradient is multiplied as (depth, OC)
PARTIAL_ELEMENTS = 16 << 20  # bound on all partial sums of a weight gradient together


def applies(kernel: Pair, window: Window) -> bool:
    """Always."""
    return True


def forward(x: Array, weight: Array, finish: Finish, window: Window, y: Array) -> None:
    """y = finish(conv(x, weight))."""
    tiles = Tiles(x, y.shape[:3], weight.shape[1:3], window, Scratch())
    multiply([Product(tiles, weight.reshape(len(weight), -1).T, y)], finish)


def input_grad(gy: Array, weight: Array, window: Window, gx: Array) -> None:
    """By phases, or for few pixels tap by tap."""
    few_pixels = math.prod(gy.shape[:3]) <= 2 * len(weight)
    (taps if few_pixels else phases).input_grad(gy, weight, window, gx)


def weight_grad(x: Array, gy: Array, window: Window, gw: Array) -> None:
    """gw (OC, KH, KW, C) = Σ over tiles of gyᵀ · columns."""
    tiles = Tiles(x, gy.shape[:3], gw.shape[1:3], window, Scratch())
    oc, total = len(gw), gw.reshape(len(gw), -1)  # (OC, KH·KW·C)
    narrow = oc <= NARROW  # then up to a third faster; NumPy multiplies in the order of ``out``

    def add(place: threads.Place, columns: Array, channels: slice, out: Array, first: bool) -> None:
        block = gy[place][..., channels]
        grads = block.reshape(-1, block.shape[3])  # (pixels, OC)
        if first:
            np.matmul(grads.T, columns, out=out)
        else:
            shape = out.shape[::-1] if narrow else out.shape
            product = tiles.scratch.get("product", shape, out.dtype)
            out += np.matmul(grads.T, columns, out=product.T if narrow else product)

    # Partial sums belong to fixed runs of tiles and are added in order: the bits of the result do
    # not depend on the number of threads.
    count = len(tiles.places)
    length = max(-(-count // 8), -(-count * total.size // PARTIAL_ELEMENTS))
    runs = threads.split(count, length)
    if len(runs) >= MIN_TILES:
        shape = total.shape[::-1] if narrow else total.shape
        memory = np.empty((len(runs), *shape), total.dtype)
        partial = memory.swapaxes(1, 2) if narrow else memory  # (runs, OC, KH·KW·C)

        def sum_run(item: tuple[slice, Array]) -> None:
            run, out = item
            for i, place in enumerate(tiles.places[run]):
                add(place, tiles.columns(place), slice(None), out, i == 0)

        def sum_channels(channels: slice) -> None:
            np.sum(partial[:, channels], axis=0, out=total[channels])

        threads.parallel_for(sum_run, [*zip(runs, partial, strict=True)])
        length = max(1, oc * threads.BLOCK // partial.size)
        threads.parallel_for(sum_channels, threads.split(oc, length))
        return
    if count == 0:
        total[...] = 0
    for i, place in enumerate(tiles.places):
        columns = tiles.columns(place)

        def add_channels(channels: slice, i=i, place=place, columns=columns) -> None:
            add(place, columns, channels, total[channels], i == 0)

        threads.parallel_for(add_channels, threads.split(oc, -(-oc // MIN_TILES)))
