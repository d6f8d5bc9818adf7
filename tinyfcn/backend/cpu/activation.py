"""Activations. Each works block by block, so that what it needs in between stays in the cache."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinyfcn.backend.cpu.elementwise import elementwise
from tinyfcn.backend.cpu.threads import BLOCK, blocks, parallel_for


def relu(x: Any) -> Any:
    """max(x, 0)."""

    def block(x: Any, out: Any) -> None:
        out.fill(0)  # NumPy's maximum of two arrays is twice as fast as that of array and number
        np.maximum(x, out, out=out)

    return elementwise(block, x)


def relu_grad(gy: Any, y: Any) -> Any:
    """gy where y > 0, else 0."""
    return elementwise(lambda y, gy, out: np.multiply(gy, y > 0, out=out), y, gy)


def leaky_relu(x: Any, slope: float) -> Any:
    """x where x > 0, else slope · x."""

    def block(x: Any, out: Any) -> None:
        np.minimum(x, 0, out=out)
        out *= slope
        out += np.maximum(x, 0)

    return elementwise(block, x)


def leaky_relu_grad(gy: Any, x: Any, slope: float) -> Any:
    """gy where x > 0, else slope · gy."""

    def block(x: Any, gy: Any, out: Any) -> None:
        np.multiply(x <= 0, slope, out=out, casting="same_kind")
        out += x > 0
        out *= gy

    return elementwise(block, x, gy)


def elu(x: Any, alpha: float) -> Any:
    """x where x > 0, else alpha · (eˣ − 1)."""

    def block(x: Any, out: Any) -> None:
        np.minimum(x, 0, out=out)
        np.expm1(out, out=out)
        out *= alpha
        out += np.maximum(x, 0)

    return elementwise(block, x)


def sigmoid(x: Any) -> Any:
    """1 / (1 + e⁻ˣ); where e⁻ˣ overflows, 1 / ∞ is the 0 that is wanted."""

    def block(x: Any, out: Any) -> None:
        with np.errstate(over="ignore"):
            np.negative(x, out=out)
            np.exp(out, out=out)
        out += 1
        np.reciprocal(out, out=out)

    return elementwise(block, x)


def softmax(x: Any, dim: int) -> Any:
    """exp(x) / Σ exp(x) along ``dim``."""

    def block(columns: Any) -> Any:
        columns -= columns.max(0)
        np.exp(columns, out=columns)
        columns /= columns.sum(0)
        return columns

    return _over_columns(block, x, dim)


def log_softmax(x: Any, dim: int) -> Any:
    """x − log Σ exp(x) along ``dim``."""

    def block(columns: Any) -> Any:
        columns -= columns.max(0)
        columns -= np.log(np.exp(columns).sum(0))
        return columns

    return _over_columns(block, x, dim)


def rows_of(x: Any, dim: int) -> Any:
    """``x`` as a C-contiguous (everything else, size of ``dim``) matrix; a view if it lies so.

    For the channels of an image in channels-last memory it does: (pixels, C).
    """
    last = np.ascontiguousarray(np.moveaxis(x, dim, -1))
    return last.reshape(math.prod(last.shape[:-1]), last.shape[-1])


def like_rows_of(x: Any, dim: int) -> tuple[Any, Any]:
    """An uninitialised matrix as :func:`rows_of` gives, and the view of it in the shape of x."""
    shape = x.shape[:dim] + x.shape[dim + 1 :]
    rows = np.empty((math.prod(shape), x.shape[dim]), x.dtype)
    return rows, np.moveaxis(rows.reshape(*shape, x.shape[dim]), -1, dim)


def row_blocks(rows: Any) -> list[slice]:
    """Slices of a matrix's rows that hold about a block of elements each."""
    return blocks(len(rows), max(1, BLOCK // max(1, rows.shape[1])))


def _over_columns(function: Callable[[Any], Any], x: Any, dim: int) -> Any:
    """Apply ``function`` along ``dim`` to blocks that are turned to (size of dim, pixels).

    Turned so, work along a short axis (21 classes) has long inner loops; turning a block that is
    in the cache costs less than the short loops would.
    """
    rows = rows_of(x, dim)
    out, result = like_rows_of(x, dim)
    pieces = row_blocks(rows)

    def task(i: int) -> None:
        out[pieces[i]] = function(rows[pieces[i]].T.copy()).T

    parallel_for(task, len(pieces))
    return result
