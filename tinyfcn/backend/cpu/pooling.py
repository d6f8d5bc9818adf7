"""Max pooling, and the two maps that its indices describe: scatter (unpooling) and gather.

The pixels that stand at one place of every window, a *tap*, form a strided view of the image, so a
k×k pooling is k² element-wise operations on large arrays. Each tap is copied first, pixel by pixel:
on the view itself NumPy's loops would be as short as the number of channels. Parts of a tap that
would fall into the padding are left out, which is what padding with −∞ means.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyfcn.backend.base import Backend, Pair
from tinyfcn.backend.cpu.conv.window import Window, each_tap
from tinyfcn.backend.cpu.elementwise import select
from tinyfcn.backend.cpu.layout import Array, channels_last, logical
from tinyfcn.backend.cpu.threads import Place, parallel_for, places

BLOCK = 1 << 17  # elements of a task; fewer than elsewhere, as each is passed over a dozen times


class Pooling(Backend):
    """Max pooling, scatter and gather, in blocks of rows."""

    def max_pool2d(
        self, x: Array, size: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair,
        indices: bool,
    ) -> tuple[Array, Array | None]:  # fmt: skip
        x, window = channels_last(x), Window(stride, padding, dilation)
        (n, h, w, c), pixels = x.shape, _pixels(x)
        y = np.empty((n, *size, c), x.dtype)
        where = np.empty(y.shape, _index_dtype(h * w)) if indices else None
        last = kernel[0] * kernel[1] - 1

        def task(place: Place) -> None:
            images, rows = place
            taps = [
                (tap, outputs, pixels[images][inputs])
                for tap, outputs, inputs in each_tap(slice(0, h), w, rows, size[1], kernel, window)
            ][::-1]
            best, rest = y[images, rows], taps
            if taps[0][2].shape == best.shape[:-1]:  # it is in every window
                _pixels(best)[...], rest = taps[0][2], taps[1:]
            else:
                best.fill(-np.inf)
            # From the last tap to the first, so that of equal ones the first in reading order wins,
            # be they −∞. Counted from the last, numbers rise: the largest that wins is the one.
            winner = np.zeros(best.shape, np.min_scalar_type(last + 1))
            mask = np.empty(best.shape, bool)
            for tap, outputs, chosen in rest:
                values = _channels(chosen, x)
                if where is not None:
                    wins = np.greater_equal(values, best[outputs], out=mask[outputs])
                    number = winner.dtype.type(last - tap)
                    np.maximum(winner[outputs], wins.view("u1") * number, out=winner[outputs])
                np.maximum(best[outputs], values, out=best[outputs])
            if where is None:
                return
            np.subtract(last, winner, out=winner)
            if np.isnan(best).any():
                for tap, outputs, chosen in reversed(taps):
                    winner[outputs][np.isnan(_channels(chosen, x))] = tap
            # From kh · KW + kw to the plane index of tap 0 plus kh · DH · W + kw · DW.
            index, number = where[images, rows], where.dtype.type
            kh = winner // winner.dtype.type(kernel[1])
            np.multiply(kh, number(dilation[0] * w - dilation[1] * kernel[1]), out=index)
            index += winner * number(dilation[1])
            index += _origins(rows, index.shape[1:], w, window, index.dtype)

        parallel_for(task, places(n, size[0], BLOCK // (size[1] * c)))
        return logical(y), None if where is None else logical(where)

    def scatter_plane(
        self, x: Array, indices: Array, size: Pair,
        kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, own: bool = False,
    ) -> Array:  # fmt: skip
        grads, where = channels_last(x), channels_last(indices)
        window, (n, oh, ow, c), (h, w) = Window(stride, padding, dilation), grads.shape, size
        y = np.empty((n, h, w, c), x.dtype)
        overlap = any(d * (k - 1) + 1 > s for k, s, d in zip(kernel, stride, dilation, strict=True))
        tiled = (window, size) == (Window(kernel, (0, 0), (1, 1)), (oh * kernel[0], ow * kernel[1]))

        # A task owns rows of the result, so that windows which overlap never meet in another task.
        def task(place: Place) -> int:
            images, rows = place
            found = 0
            windows = _reaching(rows, oh, kernel[0], stride[0], padding[0], dilation[0])
            values, plane = grads[images, windows], y[images, rows]
            if not tiled:
                plane.fill(0)
            origins = _origins(windows, values.shape[1:], w, window, _index_dtype(h * w))
            offsets = where[images, windows] - origins
            for tap, outputs, inputs in each_tap(rows, w, windows, ow, kernel, window):
                kh, kw = divmod(tap, kernel[1])
                mask = offsets[outputs] == kh * dilation[0] * w + kw * dilation[1]
                found += int(np.count_nonzero(mask))
                chosen = select(values[outputs], mask, np.empty(mask.shape, x.dtype))
                if overlap:
                    plane[inputs] += chosen
                else:
                    _pixels(plane)[inputs] = _pixels(chosen)
            return found

        tasks = places(n, h, BLOCK * stride[0] * stride[1] // (w * c))
        if sum(parallel_for(task, tasks)) == x.size:
            return logical(y)
        # Slow, and needed by nobody who unpools what was pooled.
        return super().scatter_plane(x, indices, size, kernel, stride, padding, dilation)

    def gather_plane(self, x: Array, indices: Array) -> Array:
        x, indices = channels_last(x), channels_last(indices)
        n, oh, ow, c = indices.shape
        y = np.empty((n, oh, ow, c), x.dtype)

        def task(place: Place) -> None:
            images, rows = place
            flat = indices[images, rows].astype(np.intp)
            flat *= c
            flat += np.arange(c)
            for image, index, out in zip(x[images], flat, y[images, rows], strict=True):
                # Indices are known to be inside; with any mode but "raise", take needs no buffer.
                np.take(image, index, out=out, mode="clip")

        parallel_for(task, places(n, oh, BLOCK // (ow * c)))
        return logical(y)


def _pixels(x: Array) -> Array:
    """(…, C), whose channels lie side by side, as an array (…) of pixels, to be copied whole."""
    return x.view(f"V{x.shape[-1] * x.itemsize}")[..., 0]


def _channels(pixels: Array, like: Array) -> Array:
    """A C-contiguous copy of some pixels of an array (…, C)."""
    return pixels.copy().view(like.dtype).reshape(*pixels.shape, like.shape[-1])


def _reaching(rows: slice, oh: int, k: int, s: int, p: int, d: int) -> slice:
    """The rows of windows that touch these rows of the image."""
    first = max(0, -((d * (k - 1) - p - rows.start) // s))  # the quotient rounded up
    return slice(first, max(first, min(oh, (rows.stop - 1 + p) // s + 1)))


def _origins(rows: slice, shape: tuple[int, ...], w: int, window: Window, dtype: Any) -> Array:
    """The plane index h · W + w of tap 0 in each window: (rows, OW, C) = ``shape``.

    For each channel again: arrays of one shape are added in long inner loops.
    """
    (sh, sw), (ph, pw), _ = window
    h = np.arange(rows.start, rows.stop)[:, None] * sh - ph
    columns = np.repeat(np.arange(shape[1]) * sw - pw, shape[2])
    return ((h * w).astype(dtype) + columns.astype(dtype)).reshape(shape)


def _index_dtype(plane: int) -> Any:
    return np.int32 if plane < 2**31 else np.int64
