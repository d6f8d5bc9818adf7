"""Cross-entropy of pixels, and maps between classes and pixels: ``kernels/cross_entropy.cu``."""

from __future__ import annotations

import math

from tinyfcn.backend.cuda.family import Array, Family


class Loss(Family):
    """See "losses" in ``tinyfcn.backend.base``."""

    def cross_entropy(self, x: Array, labels: Array) -> Array:
        """log Σ exp(x) − x[label] for each pixel, without overflow: (N, …)."""
        return self._pixels("cross_entropy", (x,), labels, self.empty(labels.shape, x.dtype), x)

    def cross_entropy_grad(self, gy: Array, x: Array, labels: Array) -> Array:
        """gy · (softmax(x) − one-hot(label)): gy (N, …) → (N, C, …)."""
        gx = self.empty(x.shape, x.dtype)
        return self._pixels("cross_entropy_grad", (gy, x), labels, gx, x)

    def take_class(self, x: Array, labels: Array) -> Array:
        """x[n, label, …] for each pixel, 0 where the label is −1: (N, C, …) → (N, …)."""
        return self._pixels("take_class", (x,), labels, self.empty(labels.shape, x.dtype), x)

    def put_class(self, values: Array, labels: Array, classes: int) -> Array:
        """Adjoint of take_class: (N, …) → (N, C, …) with C = classes."""
        x = self.empty((values.shape[0], classes, *values.shape[1:]), values.dtype)
        return self._pixels("put_class", (values,), labels, x, x)

    def _pixels(
        self, name: str, arrays: tuple[Array, ...], labels: Array, out: Array, x: Array
    ) -> Array:
        """Run a kernel that goes over pixels; x is the array that has the classes."""
        pixels, count = math.prod(x.shape[2:]), labels.size
        self.launch.each(name, count, *arrays, labels, out, x.shape[1], pixels, count)
        return out
