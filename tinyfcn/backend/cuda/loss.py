"""Cross-entropy of pixels: ``kernels/cross_entropy.cu``."""

from __future__ import annotations

import math

from tinyfcn.backend.base import Array
from tinyfcn.backend.cuda.family import Family


class Loss(Family):
    """A thread a pixel, which goes along its classes."""

    def cross_entropy(self, x: Array, labels: Array) -> Array:
        loss = self.empty(labels.shape, x.dtype)
        sizes = x.shape[1], math.prod(x.shape[2:]), labels.size
        self.launch.each("cross_entropy", labels.size, x, labels, loss, *sizes)
        return loss

    def cross_entropy_grad(self, gy: Array, x: Array, labels: Array) -> Array:
        gx = self.empty(x.shape, x.dtype)
        sizes = x.shape[1], math.prod(x.shape[2:]), labels.size
        self.launch.each("cross_entropy_grad", labels.size, gy, x, labels, gx, *sizes)
        return gx
