"""Activations: functions of one number, and softmax along an axis.

ReLU and the other saturating functions keep their output for the backward pass, not their input:
the slope can be read from it, and the output is kept by the layer after them anyway.
"""

from __future__ import annotations

from tinyfcn import backend
from tinyfcn.function import Elementwise, Function, as_tensor
from tinyfcn.functional.arithmetic import exp
from tinyfcn.functional.comparison import Less, where
from tinyfcn.functional.sizes import axis, floating
from tinyfcn.graph import cast
from tinyfcn.tensor import Tensor

__all__ = ["elu", "leaky_relu", "log_softmax", "prelu", "relu", "sigmoid", "softmax"]


class ReLU(Elementwise):
    """max(x, 0); keeps its output alone, which tells where the gradient passes."""

    def forward(self, x):
        y = backend.active().relu(x)
        self.save_for_backward(y)
        return y

    def backward(self, gy):
        (y,) = self.saved_tensors
        return ReLUGrad()(gy, y.detach())  # the slope is constant nearly everywhere


class ReLUGrad(Elementwise):
    """gy where y > 0: linear in gy and its own adjoint."""

    def forward(self, gy, y):
        self.save_for_backward(y)
        return backend.active().relu_grad(gy, y)

    def backward(self, ggx):
        (y,) = self.saved_tensors
        return ReLUGrad()(ggx, y), None


class LeakyReLU(Elementwise):
    """x, or slope · x where x is not positive."""

    def __init__(self, slope: float) -> None:
        self.slope = slope

    def forward(self, x):
        slopes = backend.active().xp.where(x > 0, x.dtype.type(1), x.dtype.type(self.slope))
        self.save_for_backward(slopes)
        return x * slopes

    def backward(self, gy):
        (slopes,) = self.saved_tensors
        return gy * slopes


class ELU(Elementwise):
    """x, or α (eˣ − 1) where x is negative."""

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha

    def forward(self, x):
        xp = backend.active().xp
        y = xp.maximum(x, 0) + self.alpha * xp.expm1(xp.minimum(x, 0))
        self.save_for_backward(y)
        return y

    def backward(self, gy):
        # Below 0, y = α(eˣ − 1), whose slope is αeˣ = y + α; above, the slope is 1.
        (y,) = self.saved_tensors
        return gy * where(y > 0, 1.0, y + self.alpha)


class Sigmoid(Elementwise):
    """1 / (1 + e⁻ˣ), whose derivative is y (1 − y)."""

    def forward(self, x):
        xp = backend.active().xp
        small = xp.exp(-abs(x))  # e⁻ˣ, or eˣ where x is negative: neither overflows
        y = xp.where(x < 0, small, x.dtype.type(1)) / (1 + small)
        self.save_for_backward(y)
        return y

    def backward(self, gy):
        (y,) = self.saved_tensors
        return gy * y * (1.0 - y)


class Softmax(Function):
    """y = eˣ / Σ eˣ along one axis; gx = y ⊙ (gy − Σ gy ⊙ y)."""

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, x):
        y = backend.active().softmax(x, self.dim) if x.size else x
        self.save_for_backward(y)
        return y

    def backward(self, gy):
        (y,) = self.saved_tensors
        product = gy * y
        return product - y * product.sum(self.dim, keepdim=True)


class LogSoftmax(Function):
    """y = x − log Σ eˣ along one axis; gx = gy − eʸ · Σ gy."""

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, x):
        y = backend.active().log_softmax(x, self.dim) if x.size else x
        self.save_for_backward(y)
        return y

    def backward(self, gy):
        (y,) = self.saved_tensors
        return gy - exp(y) * gy.sum(self.dim, keepdim=True)


def relu(x: Tensor) -> Tensor:
    """max(x, 0), element by element; the slope at 0 is 0.

    Source: Nair and Hinton, "Rectified linear units improve restricted Boltzmann machines", 2010.

    Example:
        >>> import tinyfcn
        >>> relu(tinyfcn.tensor([-1.0, 0.0, 2.0]))
        Tensor([0., 0., 2.], dtype=float32)
    """
    return ReLU()(floating("relu", x))


def leaky_relu(x: Tensor, negative_slope: float = 0.01) -> Tensor:
    """x where x > 0, else ``negative_slope`` · x, element by element.

    Example:
        >>> import tinyfcn
        >>> leaky_relu(tinyfcn.tensor([-2.0, 3.0]), 0.5)
        Tensor([-1.,  3.], dtype=float32)
    """
    x = floating("leaky_relu", x)
    return LeakyReLU(float(negative_slope))(x) if negative_slope else relu(x)


def prelu(x: Tensor, weight: Tensor) -> Tensor:
    """x where x > 0, else weight · x: a leaky ReLU whose slope is learned.

    Args:
        x: (N, C, …).
        weight: (C,), a slope for each channel, or (1,), one for all.

    Raises:
        ValueError: for a weight of another shape.

    Source: He et al., "Delving deep into rectifiers", ICCV 2015, section 2.1.

    Example:
        >>> import tinyfcn
        >>> prelu(tinyfcn.tensor([[-2.0, -2.0]]), tinyfcn.tensor([0.25, 0.5]))
        Tensor([[-0.5, -1. ]], dtype=float32)
    """
    x, weight = floating("prelu", x), as_tensor(weight)
    channels = x.shape[1] if x.ndim > 1 else 1
    if weight.shape not in ((1,), (channels,)):
        raise ValueError(
            f"prelu: weight must have shape (1,) or ({channels},), one slope for each channel of "
            f"x {x.shape}, got {weight.shape}"
        )
    slopes = weight.reshape(-1, *[1] * max(0, x.ndim - 2))
    positive = Less()(0.0, x)
    return cast(where(positive, x, where(positive, 0.0, x) * slopes), x.dtype)


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x where x > 0, else alpha · (eˣ − 1), element by element.

    Raises:
        ValueError: if alpha is negative.

    Source: Clevert et al., "Fast and accurate deep network learning by exponential linear units
    (ELUs)", ICLR 2016.

    Example:
        >>> import tinyfcn
        >>> elu(tinyfcn.tensor([-1.0, 2.0]))
        Tensor([-0.63212055,  2.        ], dtype=float32)
    """
    if not alpha >= 0:
        raise ValueError(f"elu: alpha must be at least 0, got {alpha!r}")
    x = floating("elu", x)
    return ELU(float(alpha))(x) if alpha else relu(x)


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + e⁻ˣ), element by element; does not overflow.

    Example:
        >>> import tinyfcn
        >>> sigmoid(tinyfcn.tensor([-1000.0, 0.0, 1000.0]))
        Tensor([0. , 0.5, 1. ], dtype=float32)
    """
    return Sigmoid()(floating("sigmoid", x))


def softmax(x: Tensor, dim: int) -> Tensor:
    """exp(x) / Σ exp(x) along the axis ``dim``: class probabilities from logits.

    The largest logit is subtracted first, which changes nothing and keeps exp from overflowing.

    Raises:
        ValueError: if there is no axis ``dim``.

    Example:
        >>> import tinyfcn
        >>> softmax(tinyfcn.tensor([[0.0, 0.0, 10000.0, 10000.0]]), dim=1)
        Tensor([[0. , 0. , 0.5, 0.5]], dtype=float32)
    """
    x = floating("softmax", x)
    return Softmax(axis("softmax", x, dim))(x)


def log_softmax(x: Tensor, dim: int) -> Tensor:
    """log softmax(x) = x − log Σ exp(x) along the axis ``dim``; finite where softmax is 0.

    Raises:
        ValueError: if there is no axis ``dim``.

    Example:
        >>> import tinyfcn
        >>> log_softmax(tinyfcn.tensor([[0.0, 10000.0]]), dim=1)
        Tensor([[-10000.,      0.]], dtype=float32)
    """
    x = floating("log_softmax", x)
    return LogSoftmax(axis("log_softmax", x, dim))(x)
