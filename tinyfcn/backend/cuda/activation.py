"""Activations, element by element: ``kernels/activation.cu``."""

from __future__ import annotations

from tinyfcn.backend.cuda.family import Array, Family
from tinyfcn.backend.cuda.launcher import Kernel

FILE = "activation.cu"
KERNELS = {
    "relu": Kernel(FILE, "const T* x, T* y, i64 count"),
    "relu_grad": Kernel(FILE, "const T* gy, const T* y, T* gx, i64 count"),
}


class Activation(Family):
    """See the section of the same name in ``tinyfcn.backend.interface``."""

    def relu(self, x: Array) -> Array:
        """max(x, 0)."""
        x = self.contiguous(x)
        y = self.empty(x.shape, x.dtype)
        self.launch.each("relu", x.dtype, x.size, x, y, x.size)
        return y

    def relu_grad(self, gy: Array, y: Array) -> Array:
        """gy where the output y > 0, else 0."""
        gy, y = self.contiguous(gy), self.contiguous(y)
        gx = self.empty(gy.shape, gy.dtype)
        self.launch.each("relu_grad", gy.dtype, gy.size, gy, y, gx, gy.size)
        return gx
