"""Normalization: over the pixels of a channel (batch norm) or over neighbouring channels (LRN)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyfcn import backend
from tinyfcn.function import Function, as_tensor
from tinyfcn.functional.padding import pad
from tinyfcn.functional.second_order import differentiate
from tinyfcn.functional.selection import Select
from tinyfcn.tensor import Array, Tensor

__all__ = ["batch_norm", "local_response_norm"]


class BatchTooSmall(ValueError):
    """Batch normalization has one value a channel to train on, which equals its mean."""


class BatchNorm(Function):
    """y = x̂ · weight + bias with x̂ = (x − mean) / √(var + eps), channel by channel, or max(y, 0).

    Backward keeps x and vectors: x̂ is one multiplication away, so it is not worth an array. With
    ReLU it also needs y, which the layer behind mostly keeps anyway.
    """

    total: Any = None  # where the batch has further parts: see Backend.batch_norm_grad

    def __init__(
        self, eps: float, relu: bool, running: Sequence[Any], momentum: float | None = None
    ) -> None:
        self.eps, self.relu, self.momentum = eps, relu, momentum or 0.0
        self.running_mean, self.running_var = running
        self.training = momentum is not None
        self.share = 0.0  # of each value in the mean

    def forward(self, x, weight, bias):
        used = backend.active()
        shift = used.zeros(x.shape[1:2], x.dtype) if bias is None else bias
        scale = _or_ones(weight, x)
        if self.training:
            running = self.running_mean, self.running_var
            options = running, self.momentum, self.eps, self.relu, self.moments(x)
            y, mean, invstd = used.batch_norm_train(x, scale, shift, *options)
        else:
            dtype = np.result_type(x.dtype, np.float32)
            mean = self.running_mean.astype(dtype)  # a copy: running values change in place
            invstd = (1.0 / used.xp.sqrt(self.running_var + self.eps)).astype(dtype)
            y = used.batch_norm(x, mean, invstd, scale, shift, self.relu)
        self.save_for_backward(x, weight, mean, invstd, y if self.relu else None)
        return y

    def moments(self, x: Any) -> Any:
        """Sets ``share``; gives how many values a channel has, their mean and (biased) variance,
        if these are not those of x."""
        count = x.size // max(1, x.shape[1])
        if count <= 1:
            raise BatchTooSmall(
                "batch_norm: expected more than 1 value per channel when training, got x of shape "
                f"{x.shape}"
            )
        self.share = 1 / count
        return None

    def backward(self, gy):
        *inputs, y = self.saved_tensors
        return BatchNormGrad(self)(gy, *inputs, None if y is None else y.detach())


class BatchNormGrad(Function):
    """Gradients of x, weight and bias: with M values a channel and x̂ as above,

        gbias = Σ gy,   gweight = Σ gy · x̂,
        gx = weight / √(var + eps) · (gy − gbias / M − x̂ · gweight / M).

    The last two terms are what mean and variance themselves owe to x; with fixed ones they vanish.
    With the output y of a ReLU behind, gy is first set to 0 where y ≤ 0.
    """

    def __init__(self, norm: BatchNorm) -> None:
        self.norm = norm

    def forward(self, gy, x, weight, mean, invstd, y):
        self.save_for_backward(gy, x, weight, mean, invstd, y)
        arrays = gy, x, mean, invstd, _or_ones(weight, x)
        options = self.norm.share, y, self.norm.total
        gx, gbias, gweight = backend.active().batch_norm_grad(*arrays, *options)
        return gx, gweight, gbias

    def backward(self, *grad_outputs):
        return differentiate(self._formula, self.saved_tensors, self.needs_input_grad, grad_outputs)

    def _formula(
        self, x: Tensor, weight: Tensor | None, mean: Tensor, invstd: Tensor, y: Tensor | None
    ) -> tuple[Tensor, Sequence[Tensor]]:
        pixels, vector = (0, *range(2, x.ndim)), (1, -1, *[1] * (x.ndim - 2))
        mean, invstd = mean.reshape(vector), invstd.reshape(vector)
        if self.norm.training:
            mean = x.mean(pixels, keepdim=True)
            invstd = (((x - mean) ** 2).mean(pixels, keepdim=True) + self.norm.eps) ** -0.5
        bias = Tensor(backend.active().zeros(x.shape[1:2], x.dtype), requires_grad=True)
        weight = bias + 1.0 if weight is None else weight
        normalized = (x - mean) * invstd * weight.reshape(vector) + bias.reshape(vector)
        result = normalized if y is None else Select()(normalized, y.data > 0)
        return result, (x, weight, bias)


class LocalResponseNorm(Function):
    """x / (k + α / size · Σ x²)^β over neighbouring channels."""

    def __init__(self, size: int, alpha: float, beta: float, k: float) -> None:
        self.options = size, alpha, beta, k

    def forward(self, x):
        self.save_for_backward(x)
        return backend.active().local_response_norm(x, *self.options)

    def backward(self, gy):
        (x,) = self.saved_tensors
        return LocalResponseNormGrad(*self.options)(gy, x)


class LocalResponseNormGrad(Function):
    """Its gradient, as an op that can be differentiated again."""

    def __init__(self, size: int, alpha: float, beta: float, k: float) -> None:
        self.options = size, alpha, beta, k

    def forward(self, gy, x):
        self.save_for_backward(gy, x)
        return backend.active().local_response_norm_grad(gy, x, *self.options)

    def backward(self, ggx):
        return differentiate(self._formula, self.saved_tensors, self.needs_input_grad, (ggx,))

    def _formula(self, x: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        size, alpha, beta, k = self.options
        channels = (x * x).flatten(2)[:, None]  # as the rows of an image
        squares = pad(channels, (0, 0, size // 2, (size - 1) // 2))
        sums = [squares[:, 0, i : i + x.shape[1]] for i in range(size)]
        s = sum(sums[1:], sums[0]).reshape(x.shape) * (alpha / size) + k
        return x * s**-beta, [x]


def batch_norm(
    x: Tensor,
    running_mean: Tensor | Array | None,
    running_var: Tensor | Array | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    relu: bool = False,
    op: Callable[[float, bool, Sequence[Any], float], BatchNorm] = BatchNorm,
) -> Tensor:
    """Normalise each channel: (x − mean) / √(var + eps) · weight + bias.

    While training, mean and (biased) variance are those of the batch, and the running ones follow
    in place, with the unbiased variance: r ← (1 − momentum) · r + momentum · batch. Otherwise the
    running ones are used, as constants.

    Args:
        x: (N, C) or (N, C, …), floating.
        running_mean, running_var: (C,), changed in place while training; may then be None.
        weight, bias: (C,) or None for 1 and 0.
        training: whether to use the batch's own mean and variance.
        momentum: share of the batch in the running values.
        eps: added to the variance.
        relu: give max(y, 0), the same as ``relu(batch_norm(…))`` in fewer passes over memory;
            ``nn.Sequential`` asks for it where a ReLU follows a batch norm.
        op: for training, the op that has the statistics of the batch.

    Raises:
        BatchTooSmall: when training with a single value a channel; a ValueError.
        ValueError: for vectors of another shape; without running values when not training.

    Source: Ioffe and Szegedy, "Batch normalization: accelerating deep network training by reducing
    internal covariate shift", ICML 2015.

    Example:
        >>> import tinyfcn
        >>> x = tinyfcn.tensor([[1.0, 10.0], [3.0, 30.0]])
        >>> mean, var = tinyfcn.tensor([0.0, 0.0]), tinyfcn.tensor([1.0, 1.0])
        >>> batch_norm(x, mean, var, training=True, momentum=0.5, eps=0.0)
        Tensor([[-1., -1.],
                [ 1.,  1.]], dtype=float32)
        >>> mean, var
        (Tensor([ 1., 10.], dtype=float32), Tensor([  1.5, 100.5], dtype=float32))
    """
    x = as_tensor(x)
    if x.ndim < 2 or x.dtype.kind != "f":
        raise ValueError(
            f"batch_norm: x must be floating with axes (N, C, …), got {x.dtype} {x.shape}"
        )
    vectors = running_mean, running_var, weight, bias
    names = "running_mean", "running_var", "weight", "bias"
    for name, vector in zip(names, vectors, strict=True):
        if vector is not None and not hasattr(vector, "shape"):
            raise TypeError(f"batch_norm: {name} must be a Tensor or an array, got {vector!r}")
        if vector is not None and tuple(vector.shape) != x.shape[1:2]:
            raise ValueError(
                f"batch_norm: {name} must have shape {x.shape[1:2]}, one value for each channel "
                f"of x {x.shape}, got {tuple(vector.shape)}"
            )
    if not eps >= 0:
        raise ValueError(f"batch_norm: eps must be at least 0, got {eps!r}")
    running = [v.data if isinstance(v, Tensor) else v for v in (running_mean, running_var)]
    if not training:
        if running[0] is None or running[1] is None:
            raise ValueError("batch_norm: needs running_mean and running_var when not training")
        return BatchNorm(eps, relu, running)(x, weight, bias)
    return op(eps, relu, running, momentum)(x, weight, bias)


def local_response_norm(
    x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Divide each element by (k + alpha / size · Σ x²)^beta, over neighbouring channels.

    The sum runs over the ``size`` channels c − size // 2 … c + (size − 1) // 2 around channel c;
    channels that do not exist count as 0. PyTorch and Caffe divide alpha by size, as here; the
    AlexNet paper does not, and has k = 2: pass alpha = size · 1e-4 for its formula.

    Args:
        x: (N, C, …), floating.
        size: number of channels a window.
        alpha, beta, k: see above.

    Raises:
        ValueError: if x has no channels or size is below 1.

    Source: Krizhevsky et al., "ImageNet classification with deep convolutional neural networks",
    NIPS 2012, section 3.3.

    Example:
        >>> import tinyfcn
        >>> local_response_norm(tinyfcn.tensor([[[1.0], [2.0]]]), size=2, alpha=2.0, beta=1.0)
        Tensor([[[0.5       ],
                 [0.33333334]]], dtype=float32)
    """
    x = as_tensor(x)
    if x.ndim < 3 or x.dtype.kind != "f":
        raise ValueError(
            f"local_response_norm: x must be floating with axes (N, C, …), at least 3, got "
            f"{x.dtype} {x.shape}"
        )
    if int(size) != size or size < 1:
        raise ValueError(
            f"local_response_norm: size must be an integer of at least 1, got {size!r}"
        )
    return LocalResponseNorm(int(size), float(alpha), float(beta), float(k))(x)


def _or_ones(weight: Any, x: Any) -> Any:
    return backend.active().xp.ones(x.shape[1], x.dtype) if weight is None else weight
