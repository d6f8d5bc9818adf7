"""Resampling with banded matrices: ``kernels/resample.cu``."""

from __future__ import annotations

import functools
import math
import weakref
from typing import Any, NamedTuple

import numpy as np

from tinyfcn.backend.base import Array
from tinyfcn.backend.cuda.family import Family
from tinyfcn.backend.cuda.kernels import constant
from tinyfcn.backend.cuda.launcher import Engine
from tinyfcn.backend.half import wide
from tinyfcn.backend.sparse import Sparse

ROWS = constant("resample.cu", "ROWS")  # outputs of a thread
DIRECT = 16  # inputs of an output that are worth less than an array in between


class Bands(NamedTuple):
    """A matrix (OUT, IN) of which a row has few elements that are not 0, and near each other."""

    bounds: Array  # int32 (OUT, 2): from where to where in each row
    weights: Array  # (OUT, width): the elements from there on, then zeros
    width: int


class Resample(Family):
    """By the bands of the matrices, in one pass or in two."""

    native = frozenset({"resample2d"})

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        # Matrices come again at every step; their bands stay on the device while they live.
        self._bands_of: weakref.WeakKeyDictionary[Sparse, dict[Any, Bands]] = (
            weakref.WeakKeyDictionary()
        )

    def resample2d(self, x: Array, rows: Sparse, columns: Sparse) -> Array:
        (oh, h), (ow, w) = rows.shape, columns.shape
        dtype = wide(x.dtype)
        widths = [self._bands(matrix, dtype).width for matrix in (rows, columns)]
        # In two passes an output costs the sum of the widths and not their product. First comes
        # the pass that leaves less for the other.
        if 1 in widths or widths[0] * widths[1] <= DIRECT:
            passes = [(rows, columns)]
        elif oh * w <= h * ow:
            passes = [(rows, _identity(w)), (_identity(oh), columns)]
        else:
            passes = [(_identity(h), columns), (rows, _identity(ow))]
        taken: Any = x, None  # an activation, or what lies between two passes
        for pair in passes:
            down, across = (self._bands(matrix, dtype) for matrix in pair)
            size = len(down.bounds), len(across.bounds)
            last = pair is passes[-1]
            y = self.empty((*x.shape[:2], *size), x.dtype if last else dtype)
            given = (y, None) if last else (None, y)
            count = math.prod(x.shape[:2]) * -(-size[0] // ROWS) * size[1]
            sizes = pair[0].shape[1], pair[1].shape[1], *size
            self.launch.each("resample2d", count, *taken, *given, *down, *across, *sizes)
            taken = None, y
        return y

    def _bands(self, matrix: Sparse, dtype: Any) -> Bands:
        known = self._bands_of.setdefault(matrix, {})
        if dtype not in known:
            known[dtype] = self._pack(matrix, dtype)
        return known[dtype]

    def _pack(self, matrix: Sparse, dtype: Any) -> Bands:
        rows, columns = matrix.rows, matrix.columns
        bounds = np.zeros((len(matrix), 2), np.int32)  # from 0 to 0 where nothing is used
        bounds[rows[::-1], 0] = columns[::-1]  # of each row the first one is written last
        bounds[rows, 1] = columns + 1
        width = int((bounds[:, 1] - bounds[:, 0]).max(initial=1))
        weights = np.zeros((len(matrix), width), dtype)
        weights[rows, columns - bounds[rows, 0]] = matrix.values
        return Bands(self.placed(bounds), self.placed(weights), width)


@functools.lru_cache(maxsize=64)
def _identity(n: int) -> Sparse:
    """The matrix that leaves an axis of n pixels as it is, kept so that its bands are."""
    places = np.arange(n)
    return Sparse((n, n), places, places, np.ones(n))
