"""Normalization: ``kernels/batch_norm.cu`` and ``local_response_norm.cu``."""

from __future__ import annotations

import math

import numpy as np

from tinyfcn.backend.base import Array
from tinyfcn.backend.cuda.channel_sums import THREADS, ChannelSums


class Normalization(ChannelSums):
    """Batch normalization with statistics in one pass over x; local response normalization."""

    def batch_norm_stats(self, x: Array) -> tuple[Array, Array]:
        cut = self.cut(x)
        means, squares = self.empty((2, cut.channels, cut.parts), np.float64)
        self.launch_parts("batch_norm_parts", cut, x, means, squares)
        mean, var = self.empty((2, cut.channels), x.dtype)
        self.launch(
            "batch_norm_stats", cut.channels, THREADS,
            means, squares, mean, var, cut.elements, cut.parts,
        )  # fmt: skip
        return mean, var

    def batch_norm(
        self, x: Array, mean: Array, invstd: Array, weight: Array, bias: Array, relu: bool = False
    ) -> Array:
        y = self.empty(x.shape, x.dtype)
        self.launch.each(
            "batch_norm", x.size, x, mean, invstd, weight, bias, y,
            x.shape[1], math.prod(x.shape[2:]), x.size, int(relu),
        )  # fmt: skip
        return y

    def batch_norm_grad(
        self, gy: Array, x: Array, mean: Array, invstd: Array, weight: Array, share: float,
        y: Array | None = None,
    ) -> tuple[Array, Array, Array]:  # fmt: skip
        cut = self.cut(x)
        sums, products = self.empty((2, cut.channels, cut.parts), np.float64)
        self.launch_parts("batch_norm_grad_parts", cut, gy, x, mean, y, sums, products)
        sum_gy = self.channel_totals(sums, None, x.dtype)
        sum_gy_xhat = self.channel_totals(products, invstd, x.dtype)
        gx = self.empty(x.shape, x.dtype)
        self.launch.each(
            "batch_norm_grad", x.size, gy, x, mean, invstd, weight, sum_gy, sum_gy_xhat, y, gx,
            share, cut.channels, cut.pixels, x.size,
        )  # fmt: skip
        return gx, sum_gy, sum_gy_xhat

    def local_response_norm(
        self, x: Array, size: int, alpha: float, beta: float, k: float
    ) -> Array:
        y = self.empty(x.shape, x.dtype)
        options = x.shape[1], math.prod(x.shape[2:]), size, alpha / size, beta, k, x.size
        self.launch.each("local_response_norm", x.size, x, y, *options)
        return y

    def local_response_norm_grad(
        self, gy: Array, x: Array, size: int, alpha: float, beta: float, k: float
    ) -> Array:
        direct, spread, gx = (self.empty(x.shape, x.dtype) for _ in range(3))
        channels, pixels = x.shape[1], math.prod(x.shape[2:])
        self.launch.each(
            "local_response_norm_terms", x.size, gy, x, direct, spread,
            channels, pixels, size, alpha / size, beta, k, x.size,
        )  # fmt: skip
        self.launch.each(
            "local_response_norm_grad", x.size, direct, spread, x, gx,
            channels, pixels, size, 2 * alpha * beta / size, x.size,
        )  # fmt: skip
        return gx
