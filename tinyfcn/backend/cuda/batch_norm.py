"""Batch normalization: ``kernels/batch_norm.cu``."""

from __future__ import annotations

import math

import numpy as np

from tinyfcn.backend.cuda.channels import THREADS, ChannelSums
from tinyfcn.backend.cuda.family import Array
from tinyfcn.backend.cuda.launcher import Kernel

FILE = "batch_norm.cu"
KERNELS = {
    "batch_norm_tiles": Kernel(
        FILE,
        "const T* x, double* means, double* squares, int channels, i64 pixels, i64 count, "
        "int tiles",
    ),
    "batch_norm_stats": Kernel(
        FILE,
        "const double* means, const double* squares, T* mean, T* var, i64 count, int tiles",
    ),
    "batch_norm": Kernel(
        FILE,
        "const T* x, const T* mean, const T* invstd, const T* weight, const T* bias, T* y, "
        "int channels, i64 pixels, i64 count, int relu",
    ),
    "batch_norm_grad_tiles": Kernel(
        FILE,
        "const T* gy, const T* x, const T* mean, const T* y, double* sums, double* products, "
        "int channels, i64 pixels, i64 count, int tiles",
    ),
    "channel_totals": Kernel(FILE, "const double* sums, const T* factors, T* totals, int tiles"),
    "batch_norm_input_grad": Kernel(
        FILE,
        "const T* gy, const T* x, const T* mean, const T* invstd, const T* weight, "
        "const T* mean_gy, const T* mean_gy_xhat, const T* y, T* gx, int channels, i64 pixels, "
        "i64 count",
    ),
}


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

    def batch_norm_grad_sums(
        self, gy: Array, x: Array, mean: Array, invstd: Array, y: Array | None = None
    ) -> tuple[Array, Array]:
        """Σ gy and Σ gy · x̂ for each channel, with x̂ = (x − mean) · invstd; gy counts as 0
        where a y ≤ 0."""
        gy, x, mean, invstd = (self.contiguous(a) for a in (gy, x, mean, invstd))
        y = None if y is None else self.contiguous(y)
        cut = self.cut(x)
        sums, products = self.empty((2, cut.channels, cut.tiles), np.float64)
        self.launch_tiles("batch_norm_grad_tiles", x.dtype, cut, gy, x, mean, y, sums, products)
        return (
            self.channel_totals(sums, None, x.dtype),
            self.channel_totals(products, invstd, x.dtype),
        )

    def batch_norm_input_grad(
        self, gy: Array, x: Array, mean: Array, invstd: Array, weight: Array,
        mean_gy: Array, mean_gy_xhat: Array, y: Array | None = None,
    ) -> Array:  # fmt: skip
        """weight · invstd · (gy − mean_gy − x̂ · mean_gy_xhat); gy counts as 0 where a y ≤ 0."""
        given = gy, x, mean, invstd, weight, mean_gy, mean_gy_xhat
        arrays = [self.contiguous(a) for a in given]
        y = None if y is None else self.contiguous(y)
        gx = self.empty(x.shape, x.dtype)
        pixels = math.prod(x.shape[2:])
        self.launch.each(
            "batch_norm_input_grad", x.dtype, x.size, *arrays, y, gx, x.shape[1], pixels, x.size
        )
        return gx
