"""Linear resampling: a matrix for the rows of an image and one for its columns.

Average pooling, resizing and padding by reflection all map every plane X to R X Cᵀ with a fixed
matrix R (OH, H) and C (OW, W), so one op serves them, and its backward pass is the same op with the
transposed matrices. The matrices are float64 and few; they are cast to the dtype of the image.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfcn import backend
from tinyfcn.function import Function

Matrix = NDArray[np.float64]


class Resample2d(Function):
    """Y = R X Cᵀ on every plane: (N, C, H, W) → (N, C, OH, OW).

    Weights of 0 multiply too: near an infinite or NaN pixel, results that do not use it may be NaN.
    """

    def __init__(self, rows: Matrix, columns: Matrix) -> None:
        self.rows = rows
        self.columns = columns

    def forward(self, x):
        return backend.active().resample2d(x, self.rows, self.columns)

    def backward(self, gy):
        return Resample2d(self.rows.T, self.columns.T)(gy)


@functools.lru_cache(maxsize=64)
def average_matrix(n: int, k: int, s: int, p: int, out: int, count_include_pad: bool) -> Matrix:
    """Row i has the mean of window i.

    Example:
        >>> average_matrix(3, k=2, s=2, p=0, out=2, count_include_pad=True)
        array([[0.5, 0.5, 0. ],
               [0. , 0. , 1. ]])
    """
    matrix = np.zeros((out, n))
    for i in range(out):
        start, stop = i * s - p, min(i * s - p + k, n + p)
        inside = slice(max(start, 0), min(stop, n))
        count = stop - start if count_include_pad else inside.stop - inside.start
        matrix[i, inside] = 1 / count
    return _constant(matrix)


@functools.lru_cache(maxsize=64)
def adaptive_matrix(n: int, out: int) -> Matrix:
    """Row i has the mean of the inputs ⌊i·n / out⌋ … ⌈(i + 1)·n / out⌉ − 1.

    Example:
        >>> adaptive_matrix(3, 2)
        array([[0.5, 0.5, 0. ],
               [0. , 0.5, 0.5]])
    """
    matrix = np.zeros((out, n))
    for i in range(out):
        start, stop = i * n // out, -(-(i + 1) * n // out)
        matrix[i, start:stop] = 1 / (stop - start)
    return _constant(matrix)


@functools.lru_cache(maxsize=64)
def bilinear_matrix(n: int, out: int, scale: float | None, align_corners: bool) -> Matrix:
    """Row i has the two neighbours of position i, each weighted by the distance to the other.

    Positions beyond the first or the last centre take that one alone. ``scale`` is the number of
    inputs for each output, by default n / out.

    Example:
        >>> bilinear_matrix(2, 4, None, align_corners=False)
        array([[1.  , 0.  ],
               [0.75, 0.25],
               [0.25, 0.75],
               [0.  , 1.  ]])
    """
    i = np.arange(out)
    if align_corners:
        position = i * ((n - 1) / max(1, out - 1))
    else:
        position = (i + 0.5) * (n / out if scale is None else scale) - 0.5
    position = position.clip(0, n - 1)
    lower = position.astype(int)
    matrix = np.zeros((out, n))
    matrix[i, lower] = 1 - (position - lower)
    matrix[i, np.minimum(lower + 1, n - 1)] += position - lower
    return _constant(matrix)


@functools.lru_cache(maxsize=64)
def nearest_matrix(n: int, out: int, scale: float | None) -> Matrix:
    """Row i picks input ⌊i · scale⌋; scale as for :func:`bilinear_matrix`.

    Example:
        >>> nearest_matrix(2, 3, None)
        array([[1., 0.],
               [1., 0.],
               [0., 1.]])
    """
    # In whole numbers where possible: the float i · (n / out) may fall below a whole number.
    exact = [i * n // out if scale is None else math.floor(i * scale) for i in range(out)]
    return picking_matrix(n, tuple(min(i, n - 1) for i in exact))


def picking_matrix(n: int, picked: tuple[int, ...]) -> Matrix:
    """Row i copies input ``picked[i]``.

    Example:
        >>> picking_matrix(2, (1, 1, 0))
        array([[0., 1.],
               [0., 1.],
               [1., 0.]])
    """
    matrix = np.zeros((len(picked), n))
    matrix[np.arange(len(picked)), list(picked)] = 1
    return _constant(matrix)


def _constant(matrix: Any) -> Matrix:
    """Matrices are cached, so nobody may write into them."""
    matrix.flags.writeable = False
    return matrix
