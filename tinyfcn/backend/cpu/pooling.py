"""Max pooling, and the two maps that its indices describe: scatter (unpooling) and gather.

The elements that stand at one place of every window, a *tap*, form a strided view of the image,
so a k×k pooling is k² element-wise operations on large arrays. Parts of a tap that would fall into
the padding are left out, which is what padding with −∞ means.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfcn.backend.base import Backend, Pair
from tinyfcn.backend.cpu.layout import channels_last, logical
from tinyfcn.backend.cpu.threads import parallel_for, split

BLOCK = 3 << 17  # elements of a task; fewer than elsewhere, as each is passed over a dozen times

Array = NDArray[Any]
Slices = tuple[slice, slice, slice]  # images, rows, columns
Place = tuple[slice, slice]  # images and rows


class Pooling(Backend):
    """Max pooling, scatter and gather, in blocks of rows."""

    def max_pool2d(
        self, x: Array, size: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair,
        indices: bool,
    ) -> tuple[Array, Array | None]:  # fmt: skip
        x = channels_last(x)
        n, h, w, c = x.shape
        y = np.empty((n, *size, c), x.dtype)
        where = np.empty(y.shape, _index_dtype(h * w)) if indices else None
        tasks = _row_blocks(n, size[0], size[1] * c)

        def task(place: Place) -> None:
            images, rows = place
            taps = [
                (tap, outputs, x[images][inputs])
                for tap, outputs, inputs in _taps(
                    slice(0, h), w, rows, size[1], kernel, stride, padding, dilation
                )
            ]
            best = y[images, rows]
            if padding == (0, 0):
                best[...] = taps.pop(0)[2]
            else:
                best.fill(-np.inf)
            if where is None:
                for _, outputs, values in taps:
                    np.maximum(best[outputs], values, out=best[outputs])
                return

            first = _first_taps(rows, size[1], kernel, stride, padding, dilation)
            winner = np.empty(best.shape, first.dtype)
            winner[...] = first[:, :, None]
            greater = np.empty(best.shape, bool)
            for tap, outputs, values in taps:
                mask = np.greater(values, best[outputs], out=greater[outputs]).view(np.uint8)
                np.maximum(best[outputs], values, out=best[outputs])
                # Taps come in rising order, so the number of the last one that was greater is the
                # largest; ties do not count as greater, so the first maximum keeps its place.
                np.maximum(winner[outputs], mask * winner.dtype.type(tap), out=winner[outputs])
            if np.isnan(best).any():
                for tap, outputs, values in taps:
                    winner[outputs][np.isnan(values)] = tap
            _plane_index(winner, where[images, rows], rows, w, kernel, stride, padding, dilation)

        parallel_for(task, tasks)
        return logical(y), None if where is None else logical(where)

    def scatter_plane(
        self, x: Array, indices: Array, size: Pair,
        kernel: Pair, stride: Pair, padding: Pair, dilation: Pair,
    ) -> Array:  # fmt: skip
        x, indices = channels_last(x), channels_last(indices)
        n, oh, ow, c = x.shape
        h, w = size
        y = np.empty((n, h, w, c), x.dtype)
        # Selecting bits instead of multiplying by 0 and 1, because 0 · ∞ would not be 0.
        bits = np.dtype(f"i{x.dtype.itemsize}")
        overlap = any(d * (k - 1) + 1 > s for k, s, d in zip(kernel, stride, dilation, strict=True))
        tasks = _row_blocks(n, h, -(-w * c // (stride[0] * stride[1])))

        # A task owns rows of the result, so that windows which overlap never meet in another task.
        def task(place: Place) -> int:
            images, rows = place
            found = 0
            windows = _reaching(rows, oh, kernel[0], stride[0], padding[0], dilation[0])
            values, plane = x[images, windows].view(bits), y[images, rows]
            plane.fill(0)
            offsets = indices[images, windows] - _origins(
                windows, values.shape[1:], w, stride, padding, _index_dtype(h * w)
            )
            taps = _taps(rows, w, windows, ow, kernel, stride, padding, dilation)
            for tap, outputs, inputs in taps:
                kh, kw = divmod(tap, kernel[1])
                mask = offsets[outputs] == kh * dilation[0] * w + kw * dilation[1]
                found += int(np.count_nonzero(mask))
                negated = np.negative(mask.view(np.int8))  # all bits set where the mask is true
                chosen = (values[outputs] & negated).view(x.dtype)
                if overlap:
                    plane[inputs] += chosen
                else:
                    plane[inputs] = chosen
            return found

        if sum(parallel_for(task, tasks)) != x.size:
            return logical(_scatter_anywhere(x, indices, h, w))
        return logical(y)

    def gather_plane(self, x: Array, indices: Array) -> Array:
        x, indices = channels_last(x), channels_last(indices)
        n, oh, ow, c = indices.shape
        y = np.empty((n, oh, ow, c), x.dtype)
        tasks = _row_blocks(n, oh, ow * c)

        def task(place: Place) -> None:
            images, rows = place
            flat = indices[images, rows].astype(np.intp)
            flat *= c
            flat += np.arange(c)
            for image, index, out in zip(x[images], flat, y[images, rows], strict=True):
                # Indices are known to be inside; with any mode but "raise", take needs no buffer.
                np.take(image, index, out=out, mode="clip")

        parallel_for(task, tasks)
        return logical(y)


def _scatter_anywhere(x: Array, indices: Array, h: int, w: int) -> Array:
    """The same for any indices: slow, and needed by nobody who unpools what was pooled."""
    n, _, _, c = x.shape
    y = np.empty((n, h * w * c), x.dtype)
    for image in range(n):
        flat = indices[image].astype(np.intp) * c + np.arange(c)
        y[image] = np.bincount(flat.ravel(), x[image].ravel(), h * w * c)
    return y.reshape(n, h, w, c)


def _row_blocks(n: int, height: int, row: int) -> list[Place]:
    """(images, rows): several images or a part of one, about BLOCK elements, ``row`` in a row."""
    return [
        (images, rows)
        for images in split(n, BLOCK // (height * row))
        for rows in split(height, BLOCK // row)
    ]


def _taps(
    rows_in: slice, w: int, rows_out: slice, ow: int,
    kernel: Pair, stride: Pair, padding: Pair, dilation: Pair,
) -> Iterator[tuple[int, Slices, Slices]]:  # fmt: skip
    """For each tap, in reading order: its number, the windows and the pixels that it joins.

    Windows are restricted to ``rows_out`` and pixels to ``rows_in``; slices count from there.
    """
    for tap in range(kernel[0] * kernel[1]):
        kh, kw = divmod(tap, kernel[1])
        out_rows, in_rows = _meet(rows_in, rows_out, stride[0], kh * dilation[0] - padding[0])
        out_columns, in_columns = _meet(
            slice(0, w), slice(0, ow), stride[1], kw * dilation[1] - padding[1]
        )
        images = slice(None)
        yield tap, (images, out_rows, out_columns), (images, in_rows, in_columns)


def _meet(inputs: slice, outputs: slice, stride: int, offset: int) -> tuple[slice, slice]:
    """The outputs o and the inputs o · stride + offset, as far as both lie inside their slices."""
    first = max(outputs.start, -((offset - inputs.start) // stride))  # the quotient rounded up
    last = min(outputs.stop - 1, (inputs.stop - 1 - offset) // stride)
    if last < first:
        return slice(0, 0), slice(0, 0)
    start = first * stride + offset - inputs.start
    return (
        slice(first - outputs.start, last + 1 - outputs.start),
        slice(start, start + (last - first) * stride + 1, stride),
    )


def _reaching(rows: slice, oh: int, k: int, s: int, p: int, d: int) -> slice:
    """The rows of windows that touch these rows of the image."""
    first = max(0, -((d * (k - 1) - p - rows.start) // s))  # the quotient rounded up
    return slice(first, max(first, min(oh, (rows.stop - 1 + p) // s + 1)))


def _first_taps(
    rows: slice, ow: int, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> Array:
    """(rows, OW): the number of the first tap of each window that is not in the padding."""
    steps = [
        np.maximum(0, -((o * s - p) // d))  # the quotient (p − o · s) / d rounded up
        for o, s, p, d in zip(_grid(rows, slice(0, ow)), stride, padding, dilation, strict=True)
    ]
    dtype = np.min_scalar_type(kernel[0] * kernel[1] - 1)
    return (steps[0] * kernel[1] + steps[1]).astype(dtype)


def _origins(
    rows: slice, shape: tuple[int, ...], w: int, stride: Pair, padding: Pair, dtype: Any
) -> Array:
    """The plane index h · W + w of tap 0 in each window: (rows, OW, C) = ``shape``.

    For each channel again: arrays of one shape are added in long inner loops.
    """
    h, columns = (
        o * s - p for o, s, p in zip(_grid(rows, slice(0, shape[1])), stride, padding, strict=True)
    )
    index = (h * w).astype(dtype) + np.repeat(columns, shape[2]).astype(dtype)
    return index.reshape(shape)


def _plane_index(
    winner: Array, index: Array, rows: slice, w: int,
    kernel: Pair, stride: Pair, padding: Pair, dilation: Pair,
) -> None:  # fmt: skip
    """Turn tap numbers kh · KW + kw into plane indices: those of tap 0 plus kh·DH·W + kw·DW."""
    number = index.dtype.type
    kh = winner // winner.dtype.type(kernel[1])
    np.multiply(kh, number(dilation[0] * w - dilation[1] * kernel[1]), out=index)
    index += winner * number(dilation[1])
    index += _origins(rows, index.shape[1:], w, stride, padding, index.dtype)


def _grid(rows: slice, columns: slice) -> tuple[Array, Array]:
    return np.arange(rows.start, rows.stop)[:, None], np.arange(columns.start, columns.stop)


def _index_dtype(plane: int) -> Any:
    return np.int32 if plane < 2**31 else np.int64
