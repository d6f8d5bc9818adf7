"""Cross-entropy of pixels: ``kernels/cross_entropy.cu``."""

from __future__ import annotations

from tinyfcn.backend.base import Array
from tinyfcn.backend.cuda.family import Family, image_size
from tinyfcn.backend.half import wide


class Loss(Family):
    """A thread a pixel, which goes along its classes."""

    def cross_entropy(self, x: Array, labels: Array) -> Array:
        return self.compute("cross_entropy", labels.shape, x, labels, *image_size(x))

    def cross_entropy_grad(self, gy: Array, x: Array, labels: Array) -> Array:
        gx = self.empty(x.shape, x.dtype)
        gy = gy.astype(wide(x.dtype), copy=False)
        self.launch.each("cross_entropy_grad", labels.size, gy, x, labels, gx, *image_size(x))
        return gx
