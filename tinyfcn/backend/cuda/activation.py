"""ReLU: ``kernels/activation.cu``."""

from __future__ import annotations

from tinyfcn.backend.base import Array
from tinyfcn.backend.cuda.family import Family


class Activation(Family):
    """Other activations are no bottleneck of a network: the plain bodies do."""

    def relu(self, x: Array) -> Array:
        y = self.empty(x.shape, x.dtype)
        self.launch.each("relu", x.size, x, y, x.size)
        return y

    def relu_grad(self, gy: Array, y: Array) -> Array:
        gx = self.empty(gy.shape, gy.dtype)
        self.launch.each("relu_grad", gy.size, gy, y, gx, gy.size)
        return gx
