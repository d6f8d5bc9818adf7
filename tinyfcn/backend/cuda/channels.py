"""Sums over the pixels of each channel, by tiles: ``kernels/channel_tiles.cuh``."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from tinyfcn.backend.cuda.family import Array, Family

THREADS, TILE = 256, 4096  # TILE_THREADS and TILE


class Cut(NamedTuple):
    """How the elements of each channel of (N, C, …) are cut: what kernels take, in their order."""

    channels: int
    pixels: int  # of an image
    elements: int  # of a channel
    tiles: int


class ChannelSums(Family):
    """Base class of the families that sum over pixels."""

    def cut(self, x: Array) -> Cut:
        """How x (N, C, …) is cut."""
        pixels = math.prod(x.shape[2:])
        count = x.shape[0] * pixels
        return Cut(x.shape[1], pixels, count, -(-count // TILE))

    def launch_tiles(self, name: str, dtype: Any, cut: Cut, *arrays: Any) -> None:
        """Run a kernel that has a block for each tile of each channel."""
        self.launch(name, dtype, cut.channels * cut.tiles, THREADS, *arrays, *cut)

    def channel_totals(self, sums: Array, factors: Array | None, dtype: Any) -> Array:
        """Add up the tiles of each channel: (C, tiles) float64 → (C,) of dtype, times factors."""
        totals = self.empty(sums.shape[:1], dtype)
        self.launch(
            "channel_totals", dtype, len(totals), THREADS, sums, factors, totals, sums.shape[1]
        )
        return totals
