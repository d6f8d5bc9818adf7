"""Counting the multiply-adds of convolutions and matrix products while they run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinyfcn.function import Function, Hook
from tinyfcn.functional.arithmetic import MatMul
from tinyfcn.functional.conv import Conv2d, Conv2dInputGrad, Conv2dWeightGrad
from tinyfcn.tensor import Tensor


class MultiplyAdds(Hook):
    """Counts what this thread does inside a ``with`` block, by the shapes.

    Each of the three primitives of a convolution multiplies every weight with every pixel of the
    side that is the convolution's output; zeros of the padding count, whatever the algorithm.
    Of a matrix product (``nn.Linear``) every element is a sum of K products. Other ops are free.

    Attributes:
        total: how many there were so far.

    Example:
        >>> import numpy as np, tinyfcn
        >>> from tinyfcn import nn
        >>> layer, x = nn.Conv2d(3, 8, 3), tinyfcn.tensor(np.zeros((1, 3, 6, 7), np.float32))
        >>> with MultiplyAdds() as counted:
        ...     y = layer(x)
        >>> counted.total == (4 * 5) * 8 * (3 * 3 * 3)
        True
    """

    total = 0

    def op(self, function: Function, inputs: Sequence[Any], outputs: tuple[Tensor, ...]) -> None:
        """Count those of one op."""
        if type(function) in RULES:
            self.total += RULES[type(function)](outputs[0], *inputs)


def _pixels(y: Tensor) -> int:
    return y.size // y.shape[1]


# From the output and the inputs of the call.
RULES: dict[type[Function], Callable[..., int]] = {
    Conv2d: lambda y, x, weight, bias: _pixels(y) * weight.size,
    Conv2dInputGrad: lambda gx, gy, weight, bias: _pixels(gy) * weight.size,
    Conv2dWeightGrad: lambda gw, x, gy: _pixels(gy) * gw.size,
    MatMul: lambda y, a, b: y.size * a.shape[-1],
}
