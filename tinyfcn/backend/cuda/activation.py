"""Activations, element by element: ``kernels/activation.cu``."""

from __future__ import annotations

import math

import numpy as np

from tinyfcn.backend.cuda.channels import ChannelSums
from tinyfcn.backend.cuda.family import Array


class Activation(ChannelSums):
    """See the section of the same name in ``tinyfcn.backend.interface``."""

    def relu(self, x: Array) -> Array:
        """max(x, 0)."""
        return self._each("relu", (x,))

    def relu_grad(self, gy: Array, y: Array) -> Array:
        """gy where the output y > 0, else 0."""
        return self._each("relu_grad", (gy, y))

    def leaky_relu(self, x: Array, slope: float) -> Array:
        """x where x > 0, else slope · x."""
        return self._each("leaky_relu", (x,), slope)

    def leaky_relu_grad(self, gy: Array, x: Array, slope: float) -> Array:
        """gy where x > 0, else slope · gy."""
        return self._each("leaky_relu_grad", (gy, x), slope)

    def elu(self, x: Array, alpha: float) -> Array:
        """x where x > 0, else alpha · (eˣ − 1)."""
        return self._each("elu", (x,), alpha)

    def sigmoid(self, x: Array) -> Array:
        """1 / (1 + e⁻ˣ), without overflow."""
        return self._each("sigmoid", (x,))

    def bias_relu(self, x: Array, bias: Array) -> Array:
        """max(x + bias, 0): (N, C, …) and (C,) → (N, C, …)."""
        x, bias = self.contiguous(x), self.contiguous(bias)
        y = self.empty(x.shape, x.dtype)
        pixels = math.prod(x.shape[2:])
        self.launch.each("bias_relu", x.dtype, x.size, x, bias, y, x.shape[1], pixels, x.size)
        return y

    def bias_relu_grad(self, gy: Array, y: Array) -> tuple[Array, Array]:
        """gy where the output y > 0, else 0, and its sum for each channel: (N, C, …) and (C,)."""
        gy, y = self.contiguous(gy), self.contiguous(y)
        gx = self.empty(gy.shape, gy.dtype)
        cut = self.cut(gy)
        sums = self.empty((gy.shape[1], cut.tiles), np.float64)
        self.launch_tiles("bias_relu_grad", gy.dtype, cut, gy, y, gx, sums)
        return gx, self.channel_totals(sums, None, gy.dtype)

    def _each(self, name: str, arrays: tuple[Array, ...], *options: float) -> Array:
        """A new array of the shape of the arrays, from a kernel that goes over the elements."""
        arrays = tuple(self.contiguous(array) for array in arrays)
        shape, dtype, size = arrays[0].shape, arrays[0].dtype, arrays[0].size
        out = self.empty(shape, dtype)
        self.launch.each(name, dtype, size, *arrays, out, *options, size)
        return out
