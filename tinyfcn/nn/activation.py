"""Element-wise non-linearities and softmax; the ops are in ``tinyfcn.functional``."""

from __future__ import annotations

import numpy as np

from tinyfcn import backend
from tinyfcn import functional as F
from tinyfcn.functional.sizes import at_least_one
from tinyfcn.nn.module import Module, Parameter
from tinyfcn.tensor import Tensor

__all__ = ["ELU", "LeakyReLU", "LogSoftmax", "PReLU", "ReLU", "Sigmoid", "Softmax", "Tanh"]


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x: Tensor) -> Tensor:
        """The same shape as x."""
        return F.relu(x)


class LeakyReLU(Module):
    """x where it is positive, else negative_slope · x."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        """The same shape as x."""
        return F.leaky_relu(x, self.negative_slope)


class PReLU(Module):
    """x where it is positive, else a · x with a learned slope a.

    Args:
        num_parameters: 1 for one slope in all, or the number of channels.
        init: the slope at first.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        at_least_one("PReLU", num_parameters=num_parameters)
        self.num_parameters = num_parameters
        self.weight = Parameter(backend.active().xp.full(num_parameters, init, np.float32))

    def forward(self, x: Tensor) -> Tensor:
        """The same shape as x."""
        return F.prelu(x, self.weight)


class ELU(Module):
    """x where it is positive, else alpha · (eˣ − 1)."""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        """The same shape as x."""
        return F.elu(x, self.alpha)


class Sigmoid(Module):
    """1 / (1 + e⁻ˣ)."""

    def forward(self, x: Tensor) -> Tensor:
        """The same shape as x."""
        return F.sigmoid(x)


class Tanh(Module):
    """Hyperbolic tangent."""

    def forward(self, x: Tensor) -> Tensor:
        """The same shape as x."""
        return F.tanh(x)


class Softmax(Module):
    """exp(x) / Σ exp(x), the sum over the axis ``dim`` (the channels by default)."""

    def __init__(self, dim: int = 1) -> None:
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """The same shape as x."""
        return F.softmax(x, self.dim)


class LogSoftmax(Module):
    """The logarithm of the softmax over the axis ``dim`` (the channels by default)."""

    def __init__(self, dim: int = 1) -> None:
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """The same shape as x."""
        return F.log_softmax(x, self.dim)
