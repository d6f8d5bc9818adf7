"""Dropout: elements or whole channels set to zero at random while training.

Which ones follows from a seed of 64 bits and the number of the element, so an op keeps the seed
alone: as a linear map dropout is diagonal, hence its own adjoint, and backward is the same op with
the same seed.
"""

from __future__ import annotations

from tinyfcn import backend, random
from tinyfcn.function import Elementwise
from tinyfcn.functional.selection import Select
from tinyfcn.functional.sizes import floating
from tinyfcn.tensor import Tensor

__all__ = ["dropout", "dropout2d"]


class Dropout(Elementwise):
    """x ⊙ mask(seed): linear and its own adjoint; the mask is made again, not kept."""

    def __init__(self, p: float, seed: int) -> None:
        self.p = p
        self.seed = seed

    def forward(self, x):
        return backend.active().dropout(x, self.p, self.seed)

    def backward(self, gy):
        return Dropout(self.p, self.seed)(gy)


def dropout(x: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Set each element to 0 with probability p and divide the others by 1 − p.

    The expected value stays x, so nothing is left to do when not training, and x is returned. The
    seed is drawn from :func:`tinyfcn.random.generator`, which ``manual_seed`` starts; a mask
    depends on the seed and the shape alone.

    Args:
        x: any shape.
        p: probability of dropping, from 0 to 1.
        training: whether to drop at all.

    Raises:
        ValueError: if p is not between 0 and 1.
        TypeError: if x is not floating: integers have no x / (1 − p).

    Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting",
    JMLR 2014.

    Example:
        >>> import tinyfcn
        >>> tinyfcn.manual_seed(0)
        >>> y = dropout(tinyfcn.tensor([1.0] * 1000), p=0.25)
        >>> sorted({round(value, 4) for value in y.numpy().tolist()})
        [0.0, 1.3333]
    """
    x, p = floating("dropout", x), probability("dropout", p)
    if not training or p == 0:
        return x
    if p == 1:
        return Select()(x, False)
    return Dropout(p, int(random.generator().bit_generator.random_raw()))(x)


def dropout2d(x: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Set each channel (n, c) to 0 as a whole with probability p; divide the others by 1 − p.

    Neighbouring pixels of a feature map are alike, so dropping single ones hides little.

    Args:
        x: (N, C, H, W).
        p: probability of dropping, from 0 to 1.
        training: whether to drop at all; if not, x is returned.

    Raises:
        ValueError: if p is not between 0 and 1, or x has no four axes.

    Source: Tompson et al., "Efficient object localization using convolutional networks", CVPR
    2015, section 3.2.

    Example:
        >>> import tinyfcn
        >>> tinyfcn.manual_seed(0)
        >>> y = dropout2d(tinyfcn.tensor([[[[1.0, 1.0]]] * 100]), p=0.5).numpy()
        >>> bool((y[..., 0] == y[..., 1]).all())
        True
    """
    x, p = floating("dropout2d", x), probability("dropout2d", p)
    if x.ndim != 4:
        raise ValueError(f"dropout2d: x must have 4 axes (N, C, H, W), got shape {x.shape}")
    if not training or p == 0:
        return x
    ones = backend.active().xp.ones((*x.shape[:2], 1, 1), x.dtype)
    return Select()(x, dropout(Tensor(ones), p) > 0) * (1 / (1 - p) if p < 1 else 1.0)


def probability(op: str, p: float) -> float:
    """``p``, checked."""
    if not 0 <= p <= 1:
        raise ValueError(f"{op}: p must be between 0 and 1, got {p!r}")
    return float(p)
