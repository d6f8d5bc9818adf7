"""Initial values of weights.

Each function fills a tensor in place and returns it; a trailing underscore says so, as in PyTorch.
Random values are drawn from the one generator that ``tinyfcn.manual_seed`` seeds; those of a
weight (OC, C, KH, KW) always in the order OC, KH, KW, C, however it lies in memory: so a run can be
repeated bit by bit on every backend.

A layer multiplies the variance of its input by (number of terms summed) · var(weight). He et al.
(2015) choose var = 2 / fan_in, because a ReLU halves the mean square; Glorot and Bengio (2010)
choose 2 / (fan_in + fan_out), for layers that are linear around zero. Layers of this package start
with He's normal distribution and zero biases, which lets even VGG16 without batch normalization
pass a signal to its last layer; a network of zeros would never learn anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tinyfcn import backend, random
from tinyfcn.tensor import Array, Tensor


def constant_(tensor: Tensor, value: float) -> Tensor:
    """Fill with one value."""
    tensor.data[...] = value
    return tensor


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones."""
    return constant_(tensor, 1.0)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Fill with draws from the normal distribution N(mean, std²).

    Example:
        >>> import tinyfcn
        >>> tinyfcn.manual_seed(0)
        >>> t = normal_(tinyfcn.tensor(np.empty((100, 100), np.float32)), std=3.0)
        >>> round(float(t.numpy().std()), 1)
        3.0
    """
    return _draw(tensor, random.generator().standard_normal, std, mean)


def uniform_(tensor: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Fill with draws from the uniform distribution over [low, high)."""
    return _draw(tensor, random.generator().random, high - low, low)


def kaiming_normal_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """He initialization: N(0, gain² / fan), which keeps the mean square of the signal.

    Args:
        tensor: a weight (out, in / groups, …); fan_in is the number of inputs that one output
            sums, fan_out the number of outputs that one input reaches.
        a: negative slope of the leaky ReLU that follows; 0 for ReLU.
        mode: ``"fan_in"`` keeps the signal of the forward pass, ``"fan_out"`` of the backward pass.
        nonlinearity: what follows, see :func:`calculate_gain`.

    Source: He, Zhang, Ren, Sun: Delving deep into rectifiers (2015), section 2.2.
    """
    return normal_(tensor, std=calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode)))


def kaiming_uniform_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """He initialization from the uniform distribution of the same variance, gain² / fan."""
    bound = calculate_gain(nonlinearity, a) * math.sqrt(3.0 / _fan(tensor, mode))
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Glorot initialization: N(0, gain² · 2 / (fan_in + fan_out)).

    Source: Glorot, Bengio: Understanding the difficulty of training deep feedforward neural
    networks (2010), section 4.2.1.
    """
    return normal_(tensor, std=gain * math.sqrt(2.0 / sum(_fans(tensor))))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Glorot initialization from the uniform distribution of the same variance."""
    bound = gain * math.sqrt(6.0 / sum(_fans(tensor)))
    return uniform_(tensor, -bound, bound)


def bilinear_(tensor: Tensor) -> Tensor:
    """Make a transposed convolution interpolate: each channel is upsampled by itself.

    For stride f use a kernel of k = 2f (or 2f − 1); see :func:`bilinear_kernel`.

    Args:
        tensor: weight of a transposed convolution, either (C, C, K, K), where the kernel goes to
            the pairs (c, c) and all else is zero, or with groups = C, (C, 1, K, K).

    Raises:
        ValueError: if the kernel is not square, or the weight connects different channel numbers.

    Source: Long, Shelhamer, Darrell (2015), section 3.3.

    Example:
        >>> import tinyfcn
        >>> bilinear_(tinyfcn.tensor(np.empty((1, 1, 2, 2), np.float32)))
        Tensor([[[[0.25, 0.25],
                  [0.25, 0.25]]]], dtype=float32)
    """
    shape = tensor.shape
    if len(shape) != 4 or shape[2] != shape[3]:
        raise ValueError(f"bilinear_: expected a square kernel (C, C or 1, K, K), got {shape}")
    if shape[1] not in (1, shape[0]):
        raise ValueError(
            "bilinear_: every channel is upsampled by itself, so the weight must be "
            f"({shape[0]}, {shape[0]}, K, K), or ({shape[0]}, 1, K, K) with groups, got {shape}"
        )
    kernel = np.outer(bilinear_kernel(shape[2]), bilinear_kernel(shape[2]))
    if shape[1] > 1:
        kernel = np.eye(shape[0])[:, :, None, None] * kernel
    tensor.data[...] = backend.active().as_array(kernel)
    return tensor


def bilinear_kernel(size: int) -> Array:
    """The triangle 1 − |i − c| / f, i = 0 … size − 1, by which a transposed convolution of stride
    f = ⌊(size + 1) / 2⌋ interpolates linearly.

    Its centre c is in the middle: f − 1 for odd sizes, f − 1/2 for even ones. The taps that meet in
    one output pixel, those f apart, sum to 1, so a constant stays constant away from the border.

    Example:
        >>> bilinear_kernel(4), bilinear_kernel(3)
        (array([0.25, 0.75, 0.75, 0.25]), array([0.5, 1. , 0.5]))
    """
    factor = (size + 1) // 2
    centre = factor - 1 if size % 2 else factor - 0.5
    kernel: Array = 1.0 - np.abs(np.arange(size) - centre) / factor
    return kernel


def calculate_gain(nonlinearity: str, param: float = 0.01) -> float:
    """The factor on the standard deviation that makes up for what an activation takes away.

    Args:
        nonlinearity: linear, sigmoid, tanh, relu or leaky_relu.
        param: the negative slope of leaky_relu.

    Example:
        >>> round(calculate_gain("relu"), 4)
        1.4142
    """
    gains = {
        "linear": 1.0,
        "sigmoid": 1.0,
        "tanh": 5.0 / 3.0,
        "relu": math.sqrt(2.0),
        "leaky_relu": math.sqrt(2.0 / (1.0 + param * param)),
    }
    if nonlinearity not in gains:
        expected = ", ".join(gains)
        raise ValueError(f"calculate_gain: expected one of {expected}, got {nonlinearity!r}")
    return gains[nonlinearity]


def _fans(tensor: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight (out, in / groups, …)."""
    if tensor.ndim < 2:
        raise ValueError(f"init: a weight of shape {tensor.shape} has no fan_in and fan_out")
    window = math.prod(tensor.shape[2:])
    return tensor.shape[1] * window, tensor.shape[0] * window


def _fan(tensor: Tensor, mode: str) -> int:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"init: mode must be 'fan_in' or 'fan_out', got {mode!r}")
    return _fans(tensor)[mode == "fan_out"]


def _draw(tensor: Tensor, draw: Callable[..., Array], scale: float, shift: float) -> Tensor:
    """Fill with draw(shape, dtype) · scale + shift, some rows at a time: fc6 alone has 411 MB."""
    if backend.active().name == "meta":
        return tensor  # there is nothing to fill
    dtype = np.dtype(np.float64 if tensor.dtype == np.float64 else np.float32)
    data = tensor.data.reshape(tensor.shape or (1,))
    rows = max(1, (1 << 22) * len(data) // max(1, data.size))
    for start in range(0, len(data), rows):
        part = data[start : start + rows]
        n, channels, window = part.shape[:1], part.shape[1:2], part.shape[2:]
        values = draw(n + window + channels, dtype)
        values = np.moveaxis(values, -1, min(1, values.ndim - 1))
        values *= dtype.type(scale)
        values += dtype.type(shift)
        part[...] = backend.active().as_array(values)
    return tensor
