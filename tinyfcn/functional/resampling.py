"""Linear resampling: a matrix for the rows of an image and one for its columns.

Average pooling, resizing and padding by reflection all map every plane X to R X Cᵀ with a fixed
matrix R (OH, H) and C (OW, W), so one op serves them, and its backward pass is the same op with the
transposed matrices. What happens along an axis is a small record that knows its matrix, float64 and
kept; the matrix is cast to the dtype of the image.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tinyfcn import backend
from tinyfcn.function import Function
from tinyfcn.functional.sizes import pool_size

Matrix = NDArray[np.float64]


def _kept(make: Callable[[Any], Matrix]) -> Callable[[Any], Matrix]:
    """The last 64 matrices are kept, so nobody may write into them."""

    @functools.lru_cache(maxsize=64)
    def matrix(axis: Any) -> Matrix:
        made = make(axis)
        made.flags.writeable = False
        return made

    return matrix


class Axis(Protocol):
    """What happens along one axis."""

    def matrix(self) -> Matrix:
        """(OUT, IN)."""


class Resample2d(Function):
    """Y = R X Cᵀ on every plane: (N, C, H, W) → (N, C, OH, OW).

    Weights of 0 multiply too: near an infinite or NaN pixel, results that do not use it may be NaN.
    """

    def __init__(self, rows: Axis, columns: Axis) -> None:
        self.rows = rows
        self.columns = columns

    def forward(self, x):
        return backend.active().resample2d(x, self.rows.matrix(), self.columns.matrix())

    def backward(self, gy):
        return Resample2d(_transposed(self.rows), _transposed(self.columns))(gy)


class Average(NamedTuple):
    """The means of windows that slide over the axis.

    Example:
        >>> Average(3, k=2, s=2, p=0, ceil_mode=True, count_include_pad=True).matrix()
        array([[0.5, 0.5, 0. ],
               [0. , 0. , 1. ]])
    """

    n: int
    k: int
    s: int
    p: int
    ceil_mode: bool
    count_include_pad: bool

    @_kept
    def matrix(self) -> Matrix:
        n, k, s, p, ceil_mode, count_include_pad = self
        out = pool_size(n, k, s, p, 1, ceil_mode)
        matrix = np.zeros((out, n))
        for i in range(out):
            start, stop = i * s - p, min(i * s - p + k, n + p)
            inside = slice(max(start, 0), min(stop, n))
            count = stop - start if count_include_pad else inside.stop - inside.start
            matrix[i, inside] = 1 / count
        return matrix


class Adaptive(NamedTuple):
    """The means of the inputs ⌊i·n / out⌋ … ⌈(i + 1)·n / out⌉ − 1.

    Example:
        >>> Adaptive(3, 2).matrix()
        array([[0.5, 0.5, 0. ],
               [0. , 0.5, 0.5]])
    """

    n: int
    out: int

    @_kept
    def matrix(self) -> Matrix:
        n, out = self
        matrix = np.zeros((out, n))
        for i in range(out):
            start, stop = i * n // out, -(-(i + 1) * n // out)
            matrix[i, start:stop] = 1 / (stop - start)
        return matrix


class Bilinear(NamedTuple):
    """The two neighbours of each position, weighted by the distance to the other.

    Positions beyond the first or the last centre take that one alone. ``scale`` is the number of
    inputs for each output, by default n / out.

    Example:
        >>> Bilinear(2, 4).matrix()
        array([[1.  , 0.  ],
               [0.75, 0.25],
               [0.25, 0.75],
               [0.  , 1.  ]])
    """

    n: int
    out: int
    scale: float | None = None
    align_corners: bool = False

    @_kept
    def matrix(self) -> Matrix:
        n, out, scale, align_corners = self
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
        return matrix


class Nearest(NamedTuple):
    """Output i is input ⌊i · scale⌋; scale as for :class:`Bilinear`.

    Example:
        >>> Nearest(2, 3).matrix()
        array([[1., 0.],
               [1., 0.],
               [0., 1.]])
    """

    n: int
    out: int
    scale: float | None = None

    @_kept
    def matrix(self) -> Matrix:
        n, out, scale = self
        # In integers where possible: the float i · (n / out) may fall below an integer.
        exact = [i * n // out if scale is None else math.floor(i * scale) for i in range(out)]
        return _picking(n, [min(i, n - 1) for i in exact])


class Spread(NamedTuple):
    """Input i becomes output i · factor; 0 in between.

    Example:
        >>> Spread(2, 2).matrix()
        array([[1., 0.],
               [0., 0.],
               [0., 1.],
               [0., 0.]])
    """

    n: int
    factor: int

    @_kept
    def matrix(self) -> Matrix:
        matrix = np.zeros((self.n * self.factor, self.n))
        matrix[:: self.factor] = np.eye(self.n)
        return matrix


class Bordered(NamedTuple):
    """More pixels in front and behind: the outermost ones again, or the axis mirrored at them, to
    and fro where there are more of the new ones than of the old.

    Example:
        >>> Bordered(2, 1, 0, "reflect").matrix()
        array([[0., 1.],
               [1., 0.],
               [0., 1.]])
    """

    n: int
    before: int
    after: int
    mode: str

    @_kept
    def matrix(self) -> Matrix:
        n, before, after, mode = self
        positions = range(-before, n + after)
        if mode == "replicate":
            return _picking(n, [min(max(i, 0), n - 1) for i in positions])
        # Mirrored at 0 and at n − 1, each of which stands once in a period.
        period = max(1, 2 * (n - 1))
        return _picking(n, [n - 1 - abs(n - 1 - i % period) for i in positions])


class Transposed(NamedTuple):
    """The adjoint of one of the above."""

    of: Axis

    def matrix(self) -> Matrix:
        return self.of.matrix().T


def _transposed(axis: Axis) -> Axis:
    return axis.of if isinstance(axis, Transposed) else Transposed(axis)


def _picking(n: int, picked: list[int]) -> Matrix:
    """Row i copies input ``picked[i]``."""
    matrix = np.zeros((len(picked), n))
    matrix[np.arange(len(picked)), picked] = 1
    return matrix
