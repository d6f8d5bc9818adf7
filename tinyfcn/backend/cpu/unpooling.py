"""Unpooling without indices: every pixel becomes a cell of FH × FW pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfcn.backend.cpu.layout import channels_last, logical
from tinyfcn.backend.cpu.threads import BLOCK, blocks, parallel_for

Array = NDArray[Any]
Pair = tuple[int, int]


def unpool_nearest(x: Array, factor: Pair) -> Array:
    """The pixel's value in its whole cell."""
    x = channels_last(x)
    n, h, w, c = x.shape
    y = np.empty((n * h, factor[0], w, factor[1], c), x.dtype)
    x = x.reshape(n * h, 1, w, 1, c)
    _over_rows(n * h, factor[0] * w * factor[1] * c, lambda rows: np.copyto(y[rows], x[rows]))
    return logical(y.reshape(n, h * factor[0], w * factor[1], c))


def unpool_nearest_adjoint(gy: Array, factor: Pair) -> Array:
    """The sum of each cell."""
    gy = channels_last(gy)
    n, h, w, c = gy.shape
    cells = gy.reshape(n * h // factor[0], factor[0], w // factor[1], factor[1], c)
    gx = np.empty((len(cells), w // factor[1], c), gy.dtype)

    def task(rows: slice) -> None:
        gx[rows] = cells[rows, 0, :, 0]
        for i in range(factor[0]):
            for j in range(factor[1]):
                if i or j:
                    gx[rows] += cells[rows, i, :, j]

    _over_rows(len(cells), w // factor[1] * c, task)
    return logical(gx.reshape(n, h // factor[0], w // factor[1], c))


def unpool_bed_of_nails(x: Array, factor: Pair) -> Array:
    """The pixel's value in the first corner of its cell, 0 in the rest."""
    x = channels_last(x)
    n, h, w, c = x.shape
    y = np.zeros((n * h, factor[0], w, factor[1], c), x.dtype)
    x = x.reshape(n * h, w, c)
    _over_rows(n * h, w * c, lambda rows: np.copyto(y[rows, 0, :, 0], x[rows]))
    return logical(y.reshape(n, h * factor[0], w * factor[1], c))


def unpool_bed_of_nails_adjoint(gy: Array, factor: Pair) -> Array:
    """The first corner of each cell."""
    gy = channels_last(gy)
    return logical(np.ascontiguousarray(gy[:, :: factor[0], :: factor[1]]))


def _over_rows(count: int, row: int, task: Callable[[slice], None]) -> None:
    """Call task(rows) for blocks of ``count`` rows of ``row`` elements each."""
    pieces = blocks(count, BLOCK // row)
    parallel_for(lambda number: task(pieces[number]), len(pieces))
