"""Sums over the pixels of each channel, in parts: ``kernels/sums.cu``, ``channel_sums.cuh``."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyfcn.backend.base import Array
from tinyfcn.backend.cuda.family import Family, image_size
from tinyfcn.backend.cuda.kernels import constant

PART, THREADS = (constant("channel_sums.cuh", name) for name in ("PART", "PART_THREADS"))


class ChannelSums(Family):
    """``sum_pixels``, and what other families need to sum over pixels."""

    def sum_pixels(self, x: Array) -> Array:
        return self.channel_totals(self.channel_parts("sum_pixels", 1, x), None, x.dtype)

    def channel_parts(self, name: str, results: int, x: Array, *arrays: Any) -> Array:
        """Run a kernel that has a block for each part of each channel of x (N, C, …) and other
        arrays: float64 (results, C, parts)."""
        channels, pixels = image_size(x)
        count = len(x) * pixels
        parts = -(-count // PART)
        sums = self.empty((results, channels, parts), np.float64)
        sizes = channels, pixels, count, parts
        self.launch(name, channels * parts, THREADS, x, *arrays, *sums, *sizes)
        return sums

    def channel_totals(self, sums: Array, factors: Array | None, dtype: Any) -> Array:
        """Add up the parts of each channel: (results, C, parts) float64 → (results · C,) of dtype;
        those of the last result times factors (C,)."""
        results, channels, parts = sums.shape
        totals = self.empty((results * channels,), dtype)
        plain = len(totals) - (0 if factors is None else channels)
        self.launch("channel_totals", len(totals), THREADS, sums, factors, totals, plain, parts)
        return totals
