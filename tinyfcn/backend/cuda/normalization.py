"""Normalization: ``kernels/batch_norm.cu`` and ``local_response_norm.cu``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinyfcn.backend.base import Array
from tinyfcn.backend.cuda.channel_sums import PART, THREADS, WHOLE, ChannelSums
from tinyfcn.backend.cuda.family import image_size
from tinyfcn.backend.half import HALF, alike, wide


class Normalization(ChannelSums):
    """Batch normalization with statistics in one pass over x; local response normalization."""

    native = frozenset({
        "batch_norm_stats", "batch_norm_train", "batch_norm", "batch_norm_grad",
        "local_response_norm", "local_response_norm_grad",
    })  # fmt: skip

    def batch_norm_stats(self, x: Array) -> tuple[Array, Array]:
        channels, pixels = image_size(x)
        means, squares = self.channel_parts("batch_norm_parts", 2, x)
        mean, var = self.empty((2, channels), wide(x.dtype))
        arrays = means, squares, mean, var, None, None, None
        sizes = len(x) * pixels, means.shape[1]
        self.launch("batch_norm_stats", channels, THREADS, *arrays, 0, 0, 0, 0, *sizes)
        return mean, var

    def batch_norm_train(
        self, x: Array, weight: Array, bias: Array, running: Sequence[Array | None],
        momentum: float, eps: float, relu: bool = False, moments: Any = None,
    ) -> tuple[Array, Array, Array]:  # fmt: skip
        dtype = wide(x.dtype)
        if moments or any(r is not None and r.dtype != dtype for r in running):
            options = running, momentum, eps, relu, moments
            return super().batch_norm_train(x, weight, bias, *options)
        channels, pixels = image_size(x)
        count = len(x) * pixels
        weight, bias = _widened(weight, bias)
        mean, invstd = self.empty((2, channels), dtype)
        numbers = 1 - momentum, momentum, eps, count / (count - 1)
        if count <= WHOLE:
            y = self.empty(x.shape, x.dtype)
            arrays = x, weight, bias, y, mean, invstd, *running
            sizes = channels, pixels, count, -(-count // PART)
            self.launch("batch_norm_whole", channels, THREADS, *arrays, *numbers, *sizes, relu)
            return y, mean, invstd
        means, squares = self.channel_parts("batch_norm_parts", 2, x)
        arrays = means, squares, mean, None, invstd, *running, *numbers
        self.launch("batch_norm_stats", channels, THREADS, *arrays, count, means.shape[1])
        return self.batch_norm(x, mean, invstd, weight, bias, relu), mean, invstd

    def batch_norm(
        self, x: Array, mean: Array, invstd: Array, weight: Array, bias: Array, relu: bool = False
    ) -> Array:
        arrays = x, *_widened(mean, invstd, weight, bias)
        return self.compute("batch_norm", x.shape, *arrays, *image_size(x), relu)

    def batch_norm_grad(
        self, gy: Array, x: Array, mean: Array, invstd: Array, weight: Array, share: float,
        y: Array | None = None, total: Callable[..., Any] | None = None,
    ) -> tuple[Array, Array, Array]:  # fmt: skip
        channels, pixels = image_size(x)
        count = len(x) * pixels
        gy, x, y = alike(gy, x, y)
        mean, invstd, weight = _widened(mean, invstd, weight)
        if count <= WHOLE and not total:
            sum_gy, sum_gy_xhat = self.empty((2, channels), wide(x.dtype))
            gx = self.empty(x.shape, x.dtype)
            arrays = gy, x, mean, invstd, weight, y, gx, sum_gy, sum_gy_xhat
            sizes = channels, pixels, count, -(-count // PART)
            self.launch("batch_norm_grad_whole", channels, THREADS, *arrays, share, *sizes)
            return gx, sum_gy, sum_gy_xhat
        sums = self.channel_parts("batch_norm_grad_parts", 2, gy, x, mean, y)
        sum_gy, sum_gy_xhat = self.channel_totals(sums, invstd, x.dtype).reshape(2, channels)
        totals = total(sum_gy, sum_gy_xhat) if total else (sum_gy, sum_gy_xhat)
        arrays = gy, x, mean, invstd, weight, *totals, y
        gx = self.compute("batch_norm_grad", x.shape, *arrays, share, channels, pixels)
        return gx, sum_gy, sum_gy_xhat

    def local_response_norm(
        self, x: Array, size: int, alpha: float, beta: float, k: float
    ) -> Array:
        options = *image_size(x), size, alpha / size, beta, k
        return self.compute("local_response_norm", x.shape, x, *options)

    def local_response_norm_grad(
        self, gy: Array, x: Array, size: int, alpha: float, beta: float, k: float
    ) -> Array:
        gy, x = alike(gy, x)
        direct, spread = self.empty((2, *x.shape), wide(x.dtype))
        sizes = *image_size(x), size
        terms = *sizes, alpha / size, beta, k
        self.launch.each("local_response_norm_terms", x.size, gy, x, direct, spread, *terms)
        options = *sizes, 2 * alpha * beta / size
        return self.compute("local_response_norm_grad", x.shape, x, direct, spread, *options)


def _widened(*vectors: Array) -> list[Array]:
    """Vectors beside activations as kernels take them."""
    return [v.astype(wide(HALF)) if v.dtype == HALF else v for v in vectors]
