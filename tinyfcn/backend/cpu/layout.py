"""Channels-last memory under logical (N, C, H, W).

Users, ops and models speak of (N, C, H, W) alone. In memory the channels of a pixel lie side by
side, as in a C-contiguous (N, H, W, C) array, because then a row of pixels is a matrix (pixels ×
channels) that BLAS multiplies as it lies. NumPy's own element-wise functions keep that order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def logical(nhwc: Array) -> Array:
    """The (N, C, H, W) view of an (N, H, W, C) array; never copies."""
    return nhwc.transpose(0, 3, 1, 2)


def channels_last(x: Array) -> Array:
    """The C-contiguous (N, H, W, C) array of a logical (N, C, H, W) one: a view where x already
    lies that way, a copy where it does not.

    Example:
        >>> x = logical(np.zeros((2, 4, 5, 3)))
        >>> x.shape, channels_last(x).shape, np.shares_memory(channels_last(x), x)
        ((2, 3, 4, 5), (2, 4, 5, 3), True)
    """
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))
