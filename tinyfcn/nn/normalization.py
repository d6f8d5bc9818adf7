"""Normalization layers; the ops are in ``tinyfcn.functional``."""

from __future__ import annotations

import numpy as np

from tinyfcn import backend
from tinyfcn import functional as F
from tinyfcn.functional.normalization import BatchNorm
from tinyfcn.functional.sizes import at_least_one, images
from tinyfcn.nn.module import Buffer, Module, Parameter
from tinyfcn.tensor import Tensor

__all__ = ["BatchNorm2d", "LocalResponseNorm"]


class BatchNorm2d(Module):
    """Batch normalization per channel; see :func:`tinyfcn.functional.batch_norm`.

    While training it normalizes with mean and variance of the batch and keeps running means of
    both; in evaluation it normalizes with these.

    Args:
        num_features: number of channels, C.
        eps: added to the variance.
        momentum: weight of the newest batch in the running means.
        affine: whether to learn a scale and a shift per channel.
        track_running_stats: False always uses the batch's own statistics.

    Attributes:
        weight, bias: (C,), ones and zeros at first, or None.
        running_mean, running_var: (C,) buffers, zeros and ones at first, or None.
        num_batches_tracked: how many batches went into them.

    Source: Ioffe, Szegedy: Batch normalization (2015).
    """

    op = BatchNorm  # of the batch; ranks that share theirs have another

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        at_least_one("BatchNorm2d", num_features=num_features)
        if momentum is None or not 0 <= momentum <= 1:
            raise ValueError(f"BatchNorm2d: momentum must be between 0 and 1, got {momentum}")
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        xp = backend.active().xp
        self.weight = Parameter(xp.ones(num_features, np.float32)) if affine else None
        self.bias = Parameter(xp.zeros(num_features, np.float32)) if affine else None
        tracked = track_running_stats
        self.running_mean = Buffer(xp.zeros(num_features, np.float32)) if tracked else None
        self.running_var = Buffer(xp.ones(num_features, np.float32)) if tracked else None
        self.num_batches_tracked = Buffer(xp.zeros((), np.int64)) if tracked else None

    def forward(self, x: Tensor, relu: bool = False) -> Tensor:
        """(N, C, H, W) → the same shape; with ``relu`` max(that, 0)."""
        x = images("BatchNorm2d", x)
        if self.training and self.num_batches_tracked is not None:
            count = self.num_batches_tracked.data
            count += 1  # in place
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias,
            self.training or self.running_mean is None, self.momentum, self.eps, relu=relu,
            op=self.op,
        )  # fmt: skip


class LocalResponseNorm(Module):
    """Division by the energy of neighbouring channels; see
    :func:`tinyfcn.functional.local_response_norm`.

    Args:
        size: number of channels that are summed.
        alpha, beta, k: y = x / (k + alpha / size · Σ x²)^beta.

    Source: Krizhevsky, Sutskever, Hinton: ImageNet classification (2012), section 3.3.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same shape."""
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k)
