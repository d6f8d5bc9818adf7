"""Element-wise work over whatever memory layout the arrays have, in blocks, on every thread."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinyfcn.backend.cpu.threads import BLOCK, parallel_for, split


def in_blocks(task: Callable[..., Any], *arrays: Any, block: int | None = None) -> None:
    """Call ``task(*pieces)`` on matching pieces of arrays of one shape, about ``block`` long.

    Arrays that lie in memory in the same order without gaps are cut as flat memory, which gives
    every NumPy call one long inner loop. Where the orders differ, or there are gaps, the pieces
    are slices along the longest axis: the result is the same, the memory access slower.

    Example:
        >>> a, b = np.ones((2, 3)), np.zeros((3, 2)).T
        >>> in_blocks(lambda p, q: np.copyto(q, p), a, b)
        >>> float(b.sum())
        6.0
    """
    first = arrays[0]
    order = sorted(range(first.ndim), key=lambda axis: -abs(first.strides[axis]))
    views = [array.transpose(order) for array in arrays]
    if all(view.flags.c_contiguous for view in views):
        views = [view.reshape(-1) for view in views]
    shape = views[0].shape
    axis = max(range(len(shape)), key=shape.__getitem__)
    before = (slice(None),) * axis
    pieces = _pieces(shape[axis], max(1, first.size // max(1, shape[axis])), block or BLOCK)
    if len(pieces) == 1:
        task(*views)  # not worth waking the threads
        return

    def work(piece: slice) -> None:
        task(*(view[(*before, piece)] for view in views))

    parallel_for(work, pieces)


def elementwise(function: Callable[..., Any], x: Any, *others: Any) -> Any:
    """A new array that lies in memory as ``x`` does, filled by ``function(*inputs, out)``.

    Example:
        >>> elementwise(np.add, np.ones(2), np.ones(2))
        array([2., 2.])
    """
    out = np.empty_like(x)
    in_blocks(lambda out, *inputs: function(*inputs, out), out, x, *others)
    return out


def select(values: Any, mask: Any, out: Any) -> Any:
    """``values`` where the mask is true, else 0, also of ∞ and NaN: as integers they are numbers.

    Example:
        >>> select(np.array([np.inf, np.inf]), np.array([True, False]), out=np.empty(2))
        array([inf,  0.])
    """
    bits = f"i{out.dtype.itemsize}"
    return np.multiply(values.view(bits), mask, out=out.view(bits)).view(out.dtype)


def rows_of(x: Any) -> Any:
    """``x`` (N, C, …) as a C-contiguous (pixels, C) matrix; a view of channels-last memory."""
    last = np.ascontiguousarray(x.transpose(0, *range(2, x.ndim), 1))
    return last.reshape(math.prod(last.shape[:-1]), last.shape[-1])


def like_rows_of(x: Any) -> tuple[Any, Any]:
    """An uninitialised matrix as :func:`rows_of` gives, and the view of it in the shape of x."""
    last = np.empty((len(x), *x.shape[2:], x.shape[1]), x.dtype)
    return last.reshape(-1, x.shape[1]), last.transpose(0, -1, *range(1, x.ndim - 1))


def by_rows(task: Callable[..., Any], *arrays: Any, block: int | None = None) -> list[Any]:
    """Call ``task(*blocks)`` on matching blocks of the arrays' rows, about ``block`` elements of
    the first, which is a matrix; gives what the calls gave, in order."""
    rows = arrays[0]
    pieces = _pieces(len(rows), max(1, rows.shape[1]), block or BLOCK)
    return parallel_for(lambda piece: task(*(array[piece] for array in arrays)), pieces)


def _pieces(length: int, size: int, block: int) -> list[slice]:
    """Cut a length of so many elements each into one piece, or an even number of equal ones, so
    that two threads have as much to do."""
    blocks = -(-length * size // block)
    return split(length, -(-length // (blocks + blocks % 2 if blocks > 1 else 1)))
