"""Counting the multiply-adds of convolutions and matrix products while they run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tinyfcn import backend


@dataclass
class MultiplyAdds:
    """How many there were so far."""

    total: int = 0


@contextlib.contextmanager
def count_multiply_adds() -> Iterator[MultiplyAdds]:
    """Count what the active backend does inside the ``with`` block, by the shapes.

    Each of the three primitives of a convolution multiplies every weight with every pixel of the
    side that is the convolution's output; zeros of the padding count, whatever the algorithm.
    Matrix products (``nn.Linear``) are counted on the backend "meta", where they are a primitive.

    Example:
        >>> import numpy as np, tinyfcn
        >>> from tinyfcn import nn
        >>> layer, x = nn.Conv2d(3, 8, 3), tinyfcn.tensor(np.zeros((1, 3, 6, 7), np.float32))
        >>> with count_multiply_adds() as counted:
        ...     y = layer(x)
        >>> counted.total == (4 * 5) * 8 * (3 * 3 * 3)
        True
    """
    active: Any = backend.active()
    counted = MultiplyAdds()

    def counting(primitive: Callable[..., Any], number: Callable[..., int]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            result = primitive(*arguments)
            counted.total += number(result, *arguments)
            return result

        return call

    wrapped = [name for name in _NUMBERS if hasattr(active, name)]
    former = {name: vars(active)[name] for name in wrapped if name in vars(active)}
    for name in wrapped:  # on the instance, in front of the primitive of the class
        setattr(active, name, counting(getattr(active, name), _NUMBERS[name]))
    try:
        yield counted
    finally:
        for name in wrapped:
            delattr(active, name)
        vars(active).update(former)


def _pixels(y: Any) -> int:
    return int(y.size // y.shape[1])


_NUMBERS: dict[str, Callable[..., int]] = {
    "conv2d": lambda y, x, weight, *_: _pixels(y) * weight.size,
    "conv2d_input_grad": lambda gx, gy, weight, *_: _pixels(gy) * weight.size,
    "conv2d_weight_grad": lambda gw, x, gy, *_: _pixels(gy) * gw.size,
    "matmul": lambda y, a, b: y.size * a.shape[-1],
}
