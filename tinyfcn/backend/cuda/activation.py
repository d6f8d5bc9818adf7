"""ReLU: ``kernels/activation.cu``."""

from __future__ import annotations

from tinyfcn.backend.base import Array
from tinyfcn.backend.cuda.family import Family
from tinyfcn.backend.half import alike


class Activation(Family):
    """Other activations are no bottleneck of a network: the plain bodies do."""

    native = frozenset({"relu", "relu_grad"})

    def relu(self, x: Array) -> Array:
        return self.compute("relu", x.shape, x)

    def relu_grad(self, gy: Array, y: Array) -> Array:
        return self.compute("relu_grad", gy.shape, *alike(gy, y))
