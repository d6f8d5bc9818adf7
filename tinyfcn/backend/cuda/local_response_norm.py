"""Local response normalization: ``kernels/local_response_norm.cu``."""

from __future__ import annotations

import math

from tinyfcn.backend.base import Array
from tinyfcn.backend.cuda.family import Family


class LocalResponseNorm(Family):
    """A thread an element."""

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
