"""Dropout layers: they drop while training and do nothing in evaluation."""

from __future__ import annotations

from tinyfcn import functional as F
from tinyfcn.functional.dropout import probability
from tinyfcn.nn.module import Module
from tinyfcn.tensor import Tensor

__all__ = ["Dropout", "Dropout2d"]


class Dropout(Module):
    """Set each element to 0 with probability p and divide the others by 1 − p.

    Source: Srivastava et al.: Dropout (2014).
    """

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability(type(self).__name__, p)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape as x."""
        return F.dropout(x, self.p, self.training)


class Dropout2d(Dropout):
    """Set whole channels to 0 with probability p and divide the others by 1 − p.

    Source: Tompson et al.: Efficient object localization using convolutional networks (2015).
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same shape."""
        return F.dropout2d(x, self.p, self.training)
