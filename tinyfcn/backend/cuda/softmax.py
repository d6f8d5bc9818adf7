"""Softmax along one axis: ``kernels/softmax.cu``."""

from __future__ import annotations

import math

from tinyfcn.backend.cuda.family import Array, Family


class Softmax(Family):
    """See "along one axis" in ``tinyfcn.backend.base``."""

    def softmax(self, x: Array, dim: int) -> Array:
        """exp(x) / Σ exp(x) along ``dim`` ≥ 0, without overflow."""
        return self._along("softmax", x, dim)

    def log_softmax(self, x: Array, dim: int) -> Array:
        """x − log Σ exp(x) along ``dim`` ≥ 0, without overflow."""
        return self._along("log_softmax", x, dim)

    def _along(self, name: str, x: Array, dim: int) -> Array:
        y = self.empty(x.shape, x.dtype)
        inner = math.prod(x.shape[dim + 1 :])
        columns = math.prod(x.shape[:dim]) * inner if x.size else 0
        self.launch.each(name, columns, x, y, x.shape[dim], inner, columns)
        return y
