"""Activations, element by element: ``kernels/activation.cu``."""

from __future__ import annotations

from tinyfcn.backend.cuda.family import Array, Family


class Activation(Family):
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

    def _each(self, name: str, arrays: tuple[Array, ...], *options: float) -> Array:
        """A new array of the shape of the arrays, from a kernel that goes over the elements."""
        x = arrays[0]
        y = self.empty(x.shape, x.dtype)
        self.launch.each(name, x.size, *arrays, y, *options, x.size)
        return y
