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


def empty(n: int, c: int, h: int, w: int, dtype: Any) -> Array:
    """An uninitialised logical (N, C, H, W) array over channels-last memory.

    Example:
        >>> empty(2, 3, 4, 5, "float32").shape
        (2, 3, 4, 5)
    """
    return logical(np.empty((n, h, w, c), dtype))


def zeros(n: int, c: int, h: int, w: int, dtype: Any) -> Array:
    """A logical (N, C, H, W) array of zeros over channels-last memory."""
    return logical(np.zeros((n, h, w, c), dtype))


def logical(nhwc: Array) -> Array:
    """The (N, C, H, W) view of an (N, H, W, C) array; never copies."""
    return nhwc.transpose(0, 3, 1, 2)


def channels_last(x: Array) -> Array:
    """The C-contiguous (N, H, W, C) array of a logical (N, C, H, W) one: a view where x already
    lies that way, a copy where it does not.

    Example:
        >>> x = empty(2, 3, 4, 5, "float32")
        >>> channels_last(x).shape, np.shares_memory(channels_last(x), x)
        ((2, 4, 5, 3), True)
    """
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))
