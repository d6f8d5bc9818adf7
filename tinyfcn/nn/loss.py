"""Losses as modules; the ops are in ``tinyfcn.functional``."""

from __future__ import annotations

from typing import Any

from tinyfcn import functional as F
from tinyfcn.nn.module import Buffer, Module
from tinyfcn.tensor import Tensor

__all__ = ["CrossEntropyLoss", "NLLLoss"]


class NLLLoss(Module):
    """−log-probability of the target class; see :func:`tinyfcn.functional.nll_loss`.

    Args:
        weight: (C,) weights of the classes, or None.
        ignore_index: pixels with this target take no part.
        reduction: "mean" over the pixels that take part, "sum", or "none".
    """

    def __init__(
        self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
    ) -> None:
        self.weight = None if weight is None else Buffer(weight)
        self.ignore_index, self.reduction = ignore_index, reduction

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Log-probabilities (N, C, …) and classes (N, …) → a number, or (N, …) for "none"."""
        return F.nll_loss(x, target, self.weight, self.ignore_index, self.reduction)


class CrossEntropyLoss(NLLLoss):
    """Softmax and −log-probability in one, stable for large scores; see
    :func:`tinyfcn.functional.cross_entropy`. The arguments are those of :class:`NLLLoss`.
    """

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Scores (N, C, …) and classes (N, …) → a number, or (N, …) for "none"."""
        return F.cross_entropy(x, target, self.weight, self.ignore_index, self.reduction)
