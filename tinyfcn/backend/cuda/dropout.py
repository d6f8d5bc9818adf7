"""Dropout from a counter: ``kernels/dropout.cu``."""

from __future__ import annotations

from tinyfcn.backend.base import Array
from tinyfcn.backend.cuda.family import Family, image_size


class Dropout(Family):
    """No mask is stored: which elements are dropped is a hash of their numbers."""

    native = frozenset({"dropout"})

    def dropout(self, x: Array, p: float, seed: int) -> Array:
        threshold = min(round(p * 2**32), 2**32 - 1)
        size = image_size(x) if x.ndim == 4 else (1, x.size)
        return self.compute("dropout", x.shape, x, seed, threshold, 1 / (1 - p), *size)
