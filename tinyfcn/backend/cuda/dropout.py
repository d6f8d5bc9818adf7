"""Dropout from a counter: ``kernels/dropout.cu``."""

from __future__ import annotations

from tinyfcn.backend.cuda.family import Array, Family


class Dropout(Family):
    """See the section of the same name in ``tinyfcn.backend.base``."""

    def dropout(self, x: Array, p: float, seed: int) -> Array:
        """Element i is 0 if random number i is below p · 2³², else x / (1 − p)."""
        y = self.empty(x.shape, x.dtype)
        threshold = min(round(p * 2**32), 2**32 - 1)
        channels, pixels = (x.shape[1], x.shape[2] * x.shape[3]) if x.ndim == 4 else (1, x.size)
        self.launch.each(
            "dropout", x.size, x, y, seed, threshold, 1 / (1 - p), channels, pixels, x.size
        )
        return y
