"""Batch normalization: ``kernels/batch_norm.cu``."""

from __future__ import annotations

import math

import numpy as np

from tinyfcn.backend.cuda.channels import THREADS, ChannelSums
from tinyfcn.backend.cuda.family import Array


class BatchNorm(ChannelSums):
    """See the section on normalization in ``tinyfcn.backend.interface``."""

    def batch_norm_stats(self, x: Array) -> tuple[Array, Array]:
        """Mean and biased variance of each channel; exact also where the mean is large."""
        x = self.contiguous(x)
        cut = self.cut(x)
        means, squares = self.empty((2, cut.channels, cut.tiles), np.float64)
        self.launch_tiles("batch_norm_tiles", x.dtype, cut, x, means, squares)
        mean, var = self.empty((2, cut.channels), x.dtype)
        self.launch(
            "batch_norm_stats", x.dtype, cut.channels, THREADS,
            means, squares, mean, var, cut.elements, cut.tiles,
        )  # fmt: skip
        return mean, var

    def batch_norm(
        self, x: Array, mean: Array, invstd: Array, weight: Array, bias: Array, relu: bool = False
    ) -> Array:
        """(x − mean) · invstd · weight + bias, or max(that, 0)."""
        x, *vectors = (self.contiguous(a) for a in (x, mean, invstd, weight, bias))
        y = self.empty(x.shape, x.dtype)
        pixels = math.prod(x.shape[2:])
        self.launch.each(
            "batch_norm", x.dtype, x.size, x, *vectors, y, x.shape[1], pixels, x.size, int(relu)
        )
        return y

    def batch_norm_grad(
        self, gy: Array, x: Array, mean: Array, invstd: Array, weight: Array, share: float,
        y: Array | None = None,
    ) -> tuple[Array, Array, Array]:  # fmt: skip
        """weight · invstd · (gy − share · (Σ gy + x̂ · Σ gy · x̂)), and for each channel Σ gy and
        Σ gy · x̂, with x̂ = (x − mean) · invstd; gy counts as 0 where a y ≤ 0."""
        gy, x, *vectors = (self.contiguous(a) for a in (gy, x, mean, invstd, weight))
        y = None if y is None else self.contiguous(y)
        mean, invstd, _ = vectors
        cut = self.cut(x)
        sums, products = self.empty((2, cut.channels, cut.tiles), np.float64)
        self.launch_tiles("batch_norm_grad_tiles", x.dtype, cut, gy, x, mean, y, sums, products)
        sum_gy = self.channel_totals(sums, None, x.dtype)
        sum_gy_xhat = self.channel_totals(products, invstd, x.dtype)
        gx = self.empty(x.shape, x.dtype)
        self.launch.each(
            "batch_norm_grad", x.dtype, x.size, gy, x, *vectors, sum_gy, sum_gy_xhat, y, gx,
            share, cut.channels, cut.pixels, x.size,
        )  # fmt: skip
        return gx, sum_gy, sum_gy_xhat
