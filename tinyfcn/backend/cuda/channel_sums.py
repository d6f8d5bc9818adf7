"""Sums over the pixels of each channel, in parts: ``kernels/sums.cu``, ``channel_sums.cuh``."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyfcn.backend.base import Array
from tinyfcn.backend.cuda.family import Family, image_size
from tinyfcn.backend.cuda.kernels import constant
from tinyfcn.backend.half import alike, wide

PART, THREADS, FEW = (
    constant("channel_sums.cuh", name) for name in ("PART", "PART_THREADS", "WHOLE")
)
WHOLE = PART * FEW  # elements of a channel that one block takes


class ChannelSums(Family):
    """``sum_pixels``, and what other families need to sum over pixels."""

    native = frozenset({"sum_pixels"})

    def sum_pixels(self, x: Array) -> Array:
        return self._sum_pixels(x, None, None)

    def relu_bias_grad(self, gy: Array, y: Array) -> tuple[Array, Array]:
        """relu_grad and, of what it gives, sum_pixels."""
        gy, y = alike(gy, y)
        gx = self.empty(gy.shape, gy.dtype)
        return gx, self._sum_pixels(gy, y, gx)

    def _sum_pixels(self, *arrays: Any) -> Array:
        """Of x, with y and gx as the kernels take them."""
        x = arrays[0]
        channels, pixels = image_size(x)
        if (count := len(x) * pixels) > WHOLE:
            return self.channel_totals(self.channel_parts("sum_pixels", 1, *arrays), None, x.dtype)
        totals = self.empty((channels,), wide(x.dtype))
        sizes = channels, pixels, count, -(-count // PART)
        self.launch("sum_pixels_whole", channels, THREADS, *arrays, totals, *sizes)
        return totals

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
        """Add up the parts of each channel: (results, C, parts) float64 → (results · C,), ``wide``
        of a dtype; those of the last result times factors (C,)."""
        results, channels, parts = sums.shape
        totals = self.empty((results * channels,), wide(dtype))
        plain = len(totals) - (0 if factors is None else channels)
        self.launch("channel_totals", len(totals), THREADS, sums, factors, totals, plain, parts)
        return totals
