"""Linear resampling: a matrix for the rows of an image and one for its columns.

Average pooling, resizing and padding by reflection all map every plane X to R X Cᵀ with a fixed
matrix R (OH, H) and C (OW, W), so one op serves them, and its backward pass is the same op with the
transposed matrices. What happens along an axis is a small record that knows its matrix, of which
few elements are not 0, float64 and kept; they are cast to the dtype of the image.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from tinyfcn import backend
from tinyfcn.backend.sparse import Sparse
from tinyfcn.function import Function
from tinyfcn.functional.sizes import pool_size

KEPT = 1 << 18  # elements of the matrices that are kept of a kind of axis, some 24 bytes each


def _kept(make: Callable[[Any], Sparse]) -> Callable[[Any], Sparse]:
    """The last matrices are kept, as long as they are small together."""
    elements = 0

    @functools.lru_cache(maxsize=64)
    def matrix(axis: Any) -> Sparse:
        nonlocal elements
        made = make(axis)
        elements += len(made.values)
        if elements > KEPT:
            matrix.cache_clear()
            elements = len(made.values)
        return made

    return matrix


class Axis(Protocol):
    """What happens along one axis."""

    def matrix(self) -> Sparse:
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
        >>> Average(3, k=2, s=2, p=0, ceil_mode=True, count_include_pad=True).matrix().dense()
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
    def matrix(self) -> Sparse:
        n, k, s, p, ceil_mode, count_include_pad = self
        start = np.arange(pool_size(n, k, s, p, 1, ceil_mode)) * s - p
        stop = np.minimum(start + k, n + p)
        first, last = np.maximum(start, 0), np.minimum(stop, n)
        return _means(n, first, last, stop - start if count_include_pad else last - first)


class Adaptive(NamedTuple):
    """The means of the inputs ⌊i·n / out⌋ … ⌈(i + 1)·n / out⌉ − 1.

    Example:
        >>> Adaptive(3, 2).matrix().dense()
        array([[0.5, 0.5, 0. ],
               [0. , 0.5, 0.5]])
    """

    n: int
    out: int

    @_kept
    def matrix(self) -> Sparse:
        i = np.arange(self.out)
        first, last = i * self.n // self.out, -(-(i + 1) * self.n // self.out)
        return _means(self.n, first, last, last - first)


class Bilinear(NamedTuple):
    """The two neighbours of each position, weighted by the distance to the other.

    Positions beyond the first or the last centre take that one alone. ``scale`` is the number of
    inputs for each output, by default n / out.

    Example:
        >>> Bilinear(2, 4).matrix().dense()
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
    def matrix(self) -> Sparse:
        n, out, scale, align_corners = self
        i = np.arange(out)
        if align_corners:
            position = i * ((n - 1) / max(1, out - 1))
        else:
            position = (i + 0.5) * (n / out if scale is None else scale) - 0.5
        position = position.clip(0, n - 1)
        lower = position.astype(int)
        rest = position - lower  # 0 at the last pixel, which has no neighbour behind it
        columns = np.stack([lower, lower + 1], 1).reshape(-1)
        return Sparse((out, n), i.repeat(2), columns, np.stack([1 - rest, rest], 1).reshape(-1))


class Nearest(NamedTuple):
    """Output i is input ⌊i · scale⌋; scale as for :class:`Bilinear`.

    Example:
        >>> Nearest(2, 3).matrix().dense()
        array([[1., 0.],
               [1., 0.],
               [0., 1.]])
    """

    n: int
    out: int
    scale: float | None = None

    @_kept
    def matrix(self) -> Sparse:
        n, out, scale = self
        # In integers where possible: the float i · (n / out) may fall below an integer.
        i = np.arange(out)
        exact = i * n // out if scale is None else np.floor(i * scale).astype(int)
        return _picking(n, np.minimum(exact, n - 1))


class Spread(NamedTuple):
    """Input i becomes output i · factor; 0 in between.

    Example:
        >>> Spread(2, 2).matrix().dense()
        array([[1., 0.],
               [0., 0.],
               [0., 1.],
               [0., 0.]])
    """

    n: int
    factor: int

    @_kept
    def matrix(self) -> Sparse:
        i = np.arange(self.n)
        return Sparse((self.n * self.factor, self.n), i * self.factor, i, np.ones(self.n))


class Bordered(NamedTuple):
    """More pixels in front and behind: the outermost ones again, or the axis mirrored at them, to
    and fro where there are more of the new ones than of the old.

    Example:
        >>> Bordered(2, 1, 0, "reflect").matrix().dense()
        array([[0., 1.],
               [1., 0.],
               [0., 1.]])
    """

    n: int
    before: int
    after: int
    mode: str

    @_kept
    def matrix(self) -> Sparse:
        n, before, after, mode = self
        positions = np.arange(-before, n + after)
        if mode == "replicate":
            return _picking(n, positions.clip(0, n - 1))
        # Mirrored at 0 and at n − 1, each of which stands once in a period.
        period = max(1, 2 * (n - 1))
        return _picking(n, n - 1 - abs(n - 1 - positions % period))


class Transposed(NamedTuple):
    """The adjoint of one of the above."""

    of: Axis

    def matrix(self) -> Sparse:
        return self.of.matrix().T


def _transposed(axis: Axis) -> Axis:
    return axis.of if isinstance(axis, Transposed) else Transposed(axis)


def _picking(n: int, picked: Any) -> Sparse:
    """Row i copies input ``picked[i]``."""
    return Sparse((len(picked), n), np.arange(len(picked)), picked, np.ones(len(picked)))


def _means(n: int, first: Any, last: Any, counts: Any) -> Sparse:
    """Row i is 1 / counts[i] from ``first[i]`` until before ``last[i]``."""
    sizes = last - first
    rows = np.arange(len(sizes)).repeat(sizes)
    columns = np.arange(len(rows)) - (sizes.cumsum() - sizes - first).repeat(sizes)
    return Sparse((len(sizes), n), rows, columns, (1 / counts).repeat(sizes))
