"""Sums over the pixels of each channel, in parts: ``kernels/sums.cu``, ``channel_sums.cuh``."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tinyfcn.backend.base import Array
from tinyfcn.backend.cuda.family import Family
from tinyfcn.backend.cuda.kernels import constant

PART, THREADS = (constant("channel_sums.cuh", name) for name in ("PART", "PART_THREADS"))


class Parts(NamedTuple):
    """How the elements of each channel of (N, C, …) are cut: what kernels take, in their order."""

    channels: int
    pixels: int  # of an image
    elements: int  # of a channel
    parts: int


class ChannelSums(Family):
    """``sum_pixels``, and what other families need to sum over pixels."""

    def sum_pixels(self, x: Array) -> Array:
        cut = self.cut(x)
        sums = self.empty((cut.channels, cut.parts), np.float64)
        self.launch_parts("sum_pixels", cut, x, sums)
        return self.channel_totals(sums, None, x.dtype)

    def cut(self, x: Array) -> Parts:
        """How x (N, C, …) is cut."""
        pixels = math.prod(x.shape[2:])
        elements = x.shape[0] * pixels
        return Parts(x.shape[1], pixels, elements, -(-elements // PART))

    def launch_parts(self, name: str, cut: Parts, *arrays: Any) -> None:
        """Run a kernel that has a block for each part of each channel."""
        self.launch(name, cut.channels * cut.parts, THREADS, *arrays, *cut)

    def channel_totals(self, sums: Array, factors: Array | None, dtype: Any) -> Array:
        """Add up the parts of each channel: (C, parts) float64 → (C,) of dtype, times factors."""
        totals = self.empty(sums.shape[:1], dtype)
        self.launch("channel_totals", len(totals), THREADS, sums, factors, totals, sums.shape[1])
        return totals
