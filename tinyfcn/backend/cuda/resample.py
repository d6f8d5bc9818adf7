"""Resampling with banded matrices: ``kernels/resample.cu``."""

from __future__ import annotations

import functools
import weakref
from typing import Any, NamedTuple

import numpy as np

from tinyfcn.backend.base import Array
from tinyfcn.backend.cuda.family import Family
from tinyfcn.backend.cuda.launcher import Engine

DIRECT = 16  # inputs of an output that are worth less than an array in between


class Bands(NamedTuple):
    """A matrix (OUT, IN) of which a row has few elements that are not 0, and near each other."""

    bounds: Array  # int32 (OUT, 2): from where to where in each row
    weights: Array  # (OUT, width): the elements from there on, then zeros
    width: int


class Resample(Family):
    """By the bands of the matrices, in one pass or in two."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        # Matrices come again at every step; their bands stay on the device while they live.
        self._bands_of: dict[Any, Bands] = {}

    def resample2d(self, x: Array, rows: Any, columns: Any) -> Array:
        (oh, h), (ow, w) = rows.shape, columns.shape
        widths = [self._bands(matrix, x.dtype).width for matrix in (rows, columns)]
        # In two passes an output costs the sum of the widths and not their product. First comes
        # the pass that leaves less for the other.
        if 1 in widths or widths[0] * widths[1] <= DIRECT:
            passes = [(rows, columns)]
        elif oh * w <= h * ow:
            passes = [(rows, _identity(w)), (_identity(oh), columns)]
        else:
            passes = [(_identity(h), columns), (rows, _identity(ow))]
        for pair in passes:
            down, across = (self._bands(matrix, x.dtype) for matrix in pair)
            size = len(down.bounds), len(across.bounds)
            shape = *x.shape[:2], *size
            x = self.compute("resample2d", shape, x, *down, *across, *x.shape[2:], *size)
        return x

    def _bands(self, matrix: Any, dtype: Any) -> Bands:
        """The bands of a matrix; kept for one that nobody can change."""
        if matrix.flags.writeable:
            return self._pack(matrix, dtype)
        owner = matrix if matrix.base is None else matrix.base
        key = matrix.ctypes.data, matrix.shape, matrix.strides, np.dtype(dtype)
        if key not in self._bands_of:
            self._bands_of[key] = self._pack(matrix, dtype)
            weakref.finalize(owner, self._bands_of.pop, key, None)
        return self._bands_of[key]

    def _pack(self, matrix: Any, dtype: Any) -> Bands:
        inputs, used = np.arange(matrix.shape[1]), matrix != 0
        start = np.where(used, inputs, len(inputs)).min(1, initial=len(inputs))
        stop = np.where(used, inputs + 1, 0).max(1, initial=0)  # before start where nothing is used
        width = int((stop - start).max(initial=1))
        places = start[:, None] + np.arange(width)
        inside = places < stop[:, None]
        weights = np.where(inside, np.take_along_axis(matrix, places * inside, 1), 0)
        bounds = np.stack([start, stop], 1).astype(np.int32)
        return Bands(self.xp.asarray(bounds), self.xp.asarray(weights.astype(dtype)), width)


@functools.lru_cache(maxsize=64)
def _identity(n: int) -> Any:
    """The matrix that leaves an axis of n pixels as it is; read-only, so its bands are kept."""
    matrix = np.eye(n)
    matrix.flags.writeable = False
    return matrix
