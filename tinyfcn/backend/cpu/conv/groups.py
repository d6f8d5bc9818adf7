"""Grouped convolution with fewer, wider groups.

Narrow groups (a depthwise convolution has one channel each) starve a matrix product. Several are
merged into one, with a block-diagonal weight; multiplying its zeros costs less than the narrowness
did.
"""

from __future__ import annotations

import numpy as np

from tinyfcn.backend.cpu.layout import Array

WIDTH = 16  # channels that a matrix product should have at least; twice as many are too many


def merged(inputs: int, groups: int) -> int:
    """How many of the ``groups`` of so many input channels are merged into one.

    Example:
        >>> merged(1, groups=48), merged(1, groups=21), merged(64, groups=2)
        (16, 21, 1)
    """
    fits = [m for m in range(1, groups + 1) if groups % m == 0 and m * inputs <= 2 * WIDTH] or [1]
    return next((m for m in fits if m * inputs >= WIDTH), fits[-1])


def dense(weight: Array, groups: int, count: int) -> Array:
    """Weights (OC, KH, KW, C) with ``count`` of the groups as one: (OC, KH, KW, count · C)."""
    if count == 1:
        return weight
    whole = np.zeros((*weight.shape[:3], count * weight.shape[3]), weight.dtype)
    found = diagonal(whole, groups, count)
    found[...] = weight.reshape(found.shape)
    return whole


def diagonal(whole: Array, groups: int, count: int) -> Array:
    """The blocks of such weights that belong to the groups: a view
    (groups / count, count, OC / groups, KH, KW, C)."""
    oc, kh, kw, c = whole.shape
    blocks = whole.reshape(groups // count, count, oc // groups, kh, kw, count, c // count)
    return np.einsum("pgokwgc->pgokwc", blocks)
