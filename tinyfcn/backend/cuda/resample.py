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
        self._bands_of: dict[Any, tuple[weakref.ref[Any], Bands]] = {}

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
            bands = [self._bands(matrix, x.dtype) for matrix in pair]
            size = [len(band.bounds) for band in bands]
            numbers = *bands[0], *bands[1], *x.shape[2:], *size
            x = self.compute("resample2d", (*x.shape[:2], *size), x, *numbers)
        return x

    def _bands(self, matrix: Any, dtype: Any) -> Bands:
        """The bands of a matrix; kept for one that nobody can change."""
        if matrix.flags.writeable:
            return self._pack(matrix, dtype)
        owner = matrix if matrix.base is None else matrix.base
        key = matrix.ctypes.data, matrix.shape, matrix.strides, np.dtype(dtype)
        known = self._bands_of.get(key)
        if known is None or known[0]() is not owner:
            forget = weakref.ref(owner, lambda _: self._bands_of.pop(key, None))
            known = self._bands_of[key] = forget, self._pack(matrix, dtype)
        return known[1]

    def _pack(self, matrix: Any, dtype: Any) -> Bands:
        used = matrix != 0
        any_used = used.any(1)
        start = np.where(any_used, used.argmax(1), 0)
        stop = np.where(any_used, matrix.shape[1] - used[:, ::-1].argmax(1), 0)
        width = max(1, int((stop - start).max(initial=0)))
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
