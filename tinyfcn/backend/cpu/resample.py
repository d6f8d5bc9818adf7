"""Resampling: one matrix for the rows of an image and one for its columns.

The matrices are banded: outputs that lie side by side look at inputs that lie side by side. So they
are cut into blocks of outputs, each a small dense matrix over the inputs it needs, and BLAS does
the rest. It is as fast as moving along the taps, and the adjoint is the same code.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfcn.backend.base import Backend
from tinyfcn.backend.cpu.layout import channels_last, logical
from tinyfcn.backend.cpu.threads import parallel_for, split
from tinyfcn.backend.sparse import Sparse

Array = NDArray[Any]

BLOCK = 32  # outputs a block: more waste multiplications by 0, fewer make matrices too small


class Resample(Backend):
    """Blocks of outputs, each with the inputs that it needs."""

    def resample2d(self, x: Array, rows: Sparse, columns: Sparse) -> Array:
        x = channels_last(x)
        y = np.empty((len(x), len(rows), len(columns), x.shape[3]), x.dtype)
        resample(x, rows, columns, y)
        return logical(y)


def resample(x: Array, rows: Sparse, columns: Sparse, y: Array) -> None:
    """y (N, OH, OW, C) = rows · x (N, H, W, C) · columnsᵀ."""
    n, _, w, c = x.shape
    picked_rows, picked_columns = _picked(rows), _picked(columns)
    if picked_rows is not None and picked_columns is not None:

        def pick(item: tuple[int, slice]) -> None:
            image, outputs = item
            strip = x[image, picked_rows[outputs]]
            np.take(strip, picked_columns, axis=1, out=y[image, outputs], mode="clip")

        parallel_for(pick, [*itertools.product(range(n), split(len(rows), BLOCK))])
        return
    row_bands, column_bands = _bands(rows, x.dtype), _bands(columns, x.dtype)

    def task(item: tuple[int, Any]) -> None:
        image, (outputs, inputs, weights) = item
        strip = np.matmul(weights, x[image, inputs].reshape(-1, w * c)).reshape(-1, w, c)
        for columns_out, columns_in, weights in column_bands:
            np.matmul(weights, strip[:, columns_in], out=y[image, outputs, columns_out])

    parallel_for(task, [*itertools.product(range(n), row_bands)])


def _bands(matrix: Sparse, dtype: Any) -> list[tuple[slice, slice, Array]]:
    """(outputs, inputs, the part of the matrix between them) for each block of outputs."""
    bands = []
    for outputs in split(len(matrix), BLOCK):
        elements = slice(*np.searchsorted(matrix.rows, (outputs.start, outputs.stop)))
        columns = matrix.columns[elements]
        first, last = (columns.min(), columns.max() + 1) if columns.size else (0, 1)
        part = np.zeros((outputs.stop - outputs.start, last - first), dtype)
        part[matrix.rows[elements] - outputs.start, columns - first] = matrix.values[elements]
        bands.append((outputs, slice(first, last), part))
    return bands


def _picked(matrix: Sparse) -> Array | None:
    """The input that each output copies, if the matrix does nothing else: ∞ and NaN stay alone."""
    copies = np.array_equal(matrix.rows, np.arange(len(matrix))) and (matrix.values == 1).all()
    return matrix.columns if copies else None
