"""im2col a tile at a time: the algorithm that serves every kernel, stride, padding and dilation.

And groups, all of them in one batch of products: there are as many as the weights have fewer
channels than the image.
"""

from __future__ import annotations

import numpy as np

from tinyfcn.backend.cpu import threads
from tinyfcn.backend.cpu.conv import phases, taps
from tinyfcn.backend.cpu.conv.columns import Product, Tiles, by_group, multiply
from tinyfcn.backend.cpu.conv.products import product_over_rows, reads_in_place
from tinyfcn.backend.cpu.conv.window import SHARES, Finish, Pair, Window, even
from tinyfcn.backend.cpu.layout import Array

input_grad = phases.input_grad

PARTIAL_ELEMENTS = 16 << 20  # bound on all partial sums of a weight gradient together


def applies(kernel: Pair, window: Window) -> bool:
    """Always."""
    return True


def forward(x: Array, weight: Array, finish: Finish, window: Window, y: Array) -> None:
    """y = finish(conv(x, weight))."""
    groups = x.shape[3] // weight.shape[3]
    tiles = Tiles(x, y.shape[:3], weight.shape[1:3], window, groups, len(weight))
    kernels = weight.reshape(groups, len(weight) // groups, -1).swapaxes(1, 2)
    kernels = np.ascontiguousarray(kernels) if reads_in_place(kernels.shape[1]) else kernels
    multiply([Product(tiles, kernels, y)], finish)


def weight_grad(x: Array, gy: Array, window: Window, gw: Array) -> None:
    """gw (OC, KH, KW, C) = Σ over tiles of gyᵀ · columns."""
    oc, groups = len(gw), x.shape[3] // gw.shape[3]
    tiles = Tiles(x, gy.shape[:3], gw.shape[1:3], window, groups)
    total = gw.reshape(groups, oc // groups, -1)  # (G, OC/G, KH·KW·C/G)
    # Partial sums belong to fixed runs of tiles and are added in order: the bits of the result do
    # not depend on the number of threads.
    count = len(tiles.places)
    length = max(-(-count // 8), -(-count * total.size // PARTIAL_ELEMENTS))
    runs = threads.split(count, even(count, length))
    if len(runs) < SHARES and groups == 1:
        taps.weight_grad(x, gy, window, gw)
        return

    def sum_run(run: slice) -> Array:
        found = np.zeros(total.shape, total.dtype)
        for place in tiles.places[run]:
            grads = by_group(gy[place].reshape(-1, oc), groups)
            found += product_over_rows(grads, tiles.columns(place))
        return found

    parts = threads.parallel_for(sum_run, runs)

    def add(channels: slice) -> None:
        np.sum([part[:, channels] for part in parts], axis=0, out=total[:, channels])

    threads.parallel_for(add, threads.split(total.shape[1], -(-total.shape[1] // SHARES)))
