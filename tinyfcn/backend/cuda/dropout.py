"""Dropout from a counter: ``kernels/dropout.cu``."""

from __future__ import annotations

from tinyfcn.backend.base import Array
from tinyfcn.backend.cuda.family import Family


class Dropout(Family):
    """No mask is stored: which elements are dropped is a hash of their numbers."""

    def dropout(self, x: Array, p: float, seed: int) -> Array:
        y = self.empty(x.shape, x.dtype)
        threshold = min(round(p * 2**32), 2**32 - 1)
        channels, pixels = (x.shape[1], x.shape[2] * x.shape[3]) if x.ndim == 4 else (1, x.size)
        self.launch.each(
            "dropout", x.size, x, y, seed, threshold, 1 / (1 - p), channels, pixels, x.size
        )
        return y
