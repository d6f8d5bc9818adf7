"""The input gradient as convolutions of stride 1, one for each phase of the stride.

Output pixel i of a convolution touches input row h = i·s − p + k·d for its kernel row k. Turned
around: h receives from i = (h + p − k·d) / s, for those k where that is an integer. Which k
those are depends on h mod s only. So the rows of one *phase* h mod s are a convolution of gy with
every so manieth kernel row, in reverse, with stride 1. For stride 1 there is one phase, and the
input gradient is a convolution with flipped kernels.

Phases that read the same rows of gy are computed together, one product giving their pixels side by
side: upsampling by f with a kernel of 2f has f² phases, but only four products.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np

from tinyfcn.backend.cpu import threads
from tinyfcn.backend.cpu.conv.columns import Product, Tiles, multiply
from tinyfcn.backend.cpu.conv.window import Finish, Pair, Scratch, Window, windows
from tinyfcn.backend.cpu.layout import Array


def input_grad(gy: Array, weight: Array, window: Window, gx: Array) -> None:
    """gx (N, H, W, C) from gy (N, OH, OW, OC)."""
    rows, cols = (
        phases(n, k, s, p, d)
        for n, k, s, p, d in zip(gx.shape[1:3], weight.shape[1:3], *window, strict=True)
    )
    products, unmet, scratch, groups = [], [], Scratch(), gx.shape[3] // weight.shape[3]
    pairs = list(itertools.product(rows, cols))
    for row, col in pairs:
        target = _pixels(gx, window.stride, row, col)
        if row.origin is None or col.origin is None:
            unmet.append(target)  # no kernel element ever lands here
            continue
        kernels = _kernels(weight, groups, row, col)  # (G, KH', KW', OC, phases, C), the latter / G
        outputs = kernels[0, 0, 0, 0].size
        reads = Window((1, 1), (-row.origin, -col.origin), (row.step, col.step))
        at = target.shape[:3], kernels.shape[1:3]
        tiles = Tiles(gy, *at, reads, groups, groups * outputs, len(pairs), scratch)
        products.append(Product(tiles, kernels.reshape(groups, -1, outputs), target))
    products.sort(key=lambda product: -product.tiles.depth)  # long tasks first
    multiply(products, Finish())
    threads.parallel_for(lambda target: target.fill(0), unmet)


class Phases(NamedTuple):
    """Neighbouring phases of one axis that read the same elements of gy."""

    first: int  # pixel of the first phase; the others follow it
    taps: list[slice]  # for each phase the kernel elements that reach it, in reverse order
    pixels: int  # of each phase
    origin: int | None  # where in gy the first element reads for the first pixel; None: nowhere
    step: int  # distance in gy from one such element to the next


def phases(n: int, k: int, s: int, p: int, d: int) -> list[Phases]:
    """Every pixel of range(n), sorted by h mod s.

    Example: upsampling 3 pixels by 2 with a kernel of 4. Both phases read two pixels, phase 0
    from the one before on:

        >>> for group in phases(n=6, k=4, s=2, p=1, d=1):
        ...     print(group.first, group.taps, group.origin)
        0 [slice(3, None, -2)] -1
        1 [slice(2, None, -2)] 0
    """
    period = s // math.gcd(s, d)  # kernel elements k and k + period land in the same phase

    def reaching(start: int) -> list[int]:
        return [t for t in range(k) if (start + p - t * d) % s == 0]

    def reads(start: int) -> tuple[int | None, int, int]:
        taps = reaching(start)
        origin = (start + p - taps[-1] * d) // s if taps else None
        return origin, len(taps), len(range(start, n, s))

    groups = []
    for (origin, _, count), starts in itertools.groupby(range(min(s, n)), reads):
        members = list(starts)
        # The last element reads furthest back in gy, so in reverse order positions rise.
        taps = [slice(max(reaching(start), default=0), None, -period) for start in members]
        groups.append(Phases(members[0], taps, count, origin, period * d // s))
    return groups


def _pixels(gx: Array, stride: Pair, row: Phases, col: Phases) -> Array:
    """The pixels of gx that belong to these phases, (N, rows, columns, phases, phases, C).

    Of a single phase (N, rows, columns, C): for stride 1 these are rows of a matrix.
    """
    phases = len(row.taps), len(col.taps)
    pixels = windows(gx[:, row.first :, col.first :], (row.pixels, col.pixels), phases, stride)
    return pixels[:, :, :, 0, 0] if phases == (1, 1) else pixels


def _kernels(weight: Array, groups: int, row: Phases, col: Phases) -> Array:
    """(G, KH', KW', OC/G, phases, C/G): the kernel elements that reach each phase."""
    grouped = weight.reshape(groups, -1, *weight.shape[1:])
    taps = [grouped[:, :, a, b].transpose(0, 2, 3, 1, 4) for a in row.taps for b in col.taps]
    _, kh, kw, oc, c = taps[0].shape
    if len(taps) == kh * kw == 1:
        return taps[0][..., None, :]
    kernels = np.empty((groups, kh, kw, oc, len(taps), c), weight.dtype)

    def task(piece: slice) -> None:
        for phase, elements in enumerate(taps):
            kernels[:, :, :, piece, phase] = elements[:, :, :, piece]

    threads.parallel_for(task, threads.split(oc, oc * threads.BLOCK // kernels.size))
    return kernels
