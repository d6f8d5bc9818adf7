"""Batch normalization over the images of all ranks, as if one process had them all.

Forward, each rank tells the others how many values a channel it has, their mean and variance, and
from these follow the mean and the variance of all:

    M = Σ m_r,   mean = Σ m_r · mean_r / M,   var = Σ m_r · (var_r + (mean_r − mean)²) / M.

Backward they tell Σ gy and Σ gy · x̂: the gradient of x needs those of all ranks, while weight and
bias get this rank's own, since gradients are summed over the ranks later. Sums over ranks are taken
in float64 in the order of the ranks, so that all end with the same bits.

All ranks take part in every batch. One that has no image of it runs the network on a batch of none,
(0, C, H, W), forward and backward, which gives gradients of 0.

Source: Peng et al., "MegDet: a large mini-batch object detector" (CVPR 2018), section 3.3.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyfcn import backend, nn
from tinyfcn.functional.normalization import BatchNorm, BatchTooSmall
from tinyfcn.parallel.group import Group
from tinyfcn.tensor import Array, is_grad_enabled


def sync_batch_norm(model: nn.Module, group: Group) -> None:
    """Make each ``nn.BatchNorm2d`` of a model a :class:`SyncBatchNorm2d`. A layer stays the object
    that it is, with its names and values.

    Raises:
        TypeError: for a layer of a class that somebody derived from ``nn.BatchNorm2d``.

    Example:
        >>> from tinyfcn import nn
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        >>> sync_batch_norm(model, Group())
        >>> model[1]
        SyncBatchNorm2d(8, eps=1e-05, momentum=0.1)
    """
    for name, layer in model.named_modules():
        if isinstance(layer, nn.BatchNorm2d):
            if (kind := type(layer)) not in (nn.BatchNorm2d, SyncBatchNorm2d):
                raise TypeError(f"sync_batch_norm: {name} must be a BatchNorm2d, got {kind}")
            layer.__class__ = SyncBatchNorm2d
            layer.group = group  # type: ignore[attr-defined]


class SyncBatchNorm2d(nn.BatchNorm2d):
    """A batch norm that trains with mean and variance over all ranks. In evaluation, where each
    rank may go its own way, it is an ordinary one. :func:`sync_batch_norm` makes it.

    Second derivatives through it are refused. ``BatchTooSmall`` speaks of the values of all ranks,
    and is raised on each of them.

    Attributes:
        group: the ranks.
    """

    group: Group

    def op(self, *options: Any) -> BatchNorm:  # type: ignore[override]
        """The op of one batch."""
        return SyncBatchNorm(self.group, *options) if self.training else BatchNorm(*options)


class SyncBatchNorm(BatchNorm):
    """A batch norm whose statistics, and what they owe to x, are those of all ranks."""

    def __init__(self, group: Group, *options: Any) -> None:
        super().__init__(*options)
        self.group, self.share = group, 1.0

    def moments(self, x):
        own = backend.active().xp.zeros((3, x.shape[1]))
        if x.size:
            own[0] = x.size // x.shape[1]
            own[1], own[2] = backend.active().batch_norm_stats(x)
        counts, means, variances = self._of_all(own).swapaxes(0, 1)
        self.count = count = sum(counts)
        if backend.active().eager and count[0] <= 1:
            raise BatchTooSmall(
                f"SyncBatchNorm2d: expected more than 1 value per channel in all, got x {x.shape}"
            )
        mean = sum(counts * means) / count
        var = sum(counts * (variances + (means - mean) ** 2)) / count
        dtype = np.result_type(x.dtype, np.float32)
        return count, mean.astype(dtype), var.astype(dtype)

    def total(self, *sums: Array) -> Any:
        """The sums over this rank's values → those over all, a share for each of these."""
        if is_grad_enabled():
            raise RuntimeError("SyncBatchNorm2d: has no second derivatives (create_graph=True)")
        ranks = self._of_all(backend.active().xp.stack(sums).astype(float))
        return (sum(ranks) / self.count).astype(sums[0].dtype)

    def _of_all(self, own: Array) -> Array:
        """The arrays of all ranks, by rank."""
        ranks = backend.active().xp.empty((self.group.size, *own.shape))
        self.group.start_collect(own.reshape(-1), ranks.reshape(-1))()
        return ranks
