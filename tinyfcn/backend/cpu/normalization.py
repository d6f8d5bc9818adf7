"""Batch and local response normalization.

Per-channel vectors meet images as rows of pixels × channels: a vector is repeated once for every
pixel of a row, and each NumPy call then has inner loops as long as a row of the image, not as
short as the number of channels. Sums over pixels are ``ones @ pixels``, a matrix product, of a few
hundred pixels each; these are added in float64 in their order, so threads do not change a bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from tinyfcn.backend.base import Backend
from tinyfcn.backend.cpu.elementwise import by_rows, like_rows_of, rows_of, select


class Normalization(Backend):
    """Batch and local response normalization."""

    def sum_pixels(self, x: Any) -> Any:
        rows, _ = _image_rows(x)
        (sums,) = _channel_sums(lambda block: (block,), x.shape[1], rows)
        return sums.astype(x.dtype)

    def batch_norm_stats(self, x: Any) -> tuple[Any, Any]:
        """Mean and biased variance of each channel.

        One pass over the deviations d from a guess: mean = guess + E[d], variance = E[d²] − E[d]².
        With 0 for a guess every digit would be lost where the mean is large. The mean of every 16th
        row will do: it cannot be further than √15 standard deviations from that of all, and so
        E[d²] is at most 16 times the variance.
        """
        rows, repeat = _image_rows(x)
        count = x.size // x.shape[1]

        few = rows[::16]
        (sums,) = _channel_sums(lambda block: (block,), x.shape[1], few)
        guess = (sums * (x.shape[1] / few.size)).astype(x.dtype)
        repeated = repeat(guess)

        def deviations(block: Any) -> Iterator[Any]:
            difference = block - repeated
            yield difference
            difference *= difference
            yield difference

        first, second = _channel_sums(deviations, x.shape[1], rows)
        mean = guess + first / count
        var = second / count - (first / count) ** 2
        return mean.astype(x.dtype), var.astype(x.dtype)

    def batch_norm(
        self, x: Any, mean: Any, invstd: Any, weight: Any, bias: Any, relu: bool = False
    ) -> Any:
        rows, repeat = _image_rows(x)
        out, y = like_rows_of(x)
        mean, scale, bias = repeat(mean), repeat(invstd * weight), repeat(bias)
        zeros = np.zeros_like(bias)

        def task(rows: Any, block: Any) -> None:
            np.subtract(rows, mean, out=block)
            block *= scale
            block += bias
            if relu:
                np.maximum(block, zeros, out=block)

        by_rows(task, rows, out.reshape(rows.shape))
        return y

    def batch_norm_grad(
        self, gy: Any, x: Any, mean: Any, invstd: Any, weight: Any, share: float, y: Any = None,
        total: Callable[..., Any] | None = None,
    ) -> tuple[Any, Any, Any]:  # fmt: skip
        gy_rows, _ = _image_rows(gy)
        rows, repeat = _image_rows(x)
        out, gx = like_rows_of(x)
        out = out.reshape(rows.shape)
        masks = [] if y is None else [_image_rows(y)[0], out]
        means = repeat(mean)

        def terms(gy: Any, x: Any, y: Any = None, out: Any = None) -> Iterator[Any]:
            if y is not None:
                gy = select(gy, y > 0, out)
            yield gy
            product = x - means
            product *= gy
            yield product

        sums = _channel_sums(terms, x.shape[1], gy_rows, rows, *masks)
        sum_gy, sum_gy_xhat = sums[0].astype(x.dtype), (sums[1] * invstd).astype(x.dtype)
        if y is not None:
            gy_rows = out  # with its zeros; the result takes its place
        scale = weight * invstd
        gbias, gweight = total(sum_gy, sum_gy_xhat) if total else (sum_gy, sum_gy_xhat)
        slopes = repeat(scale * invstd * (gweight * share))
        scales, mean_gy = repeat(scale), repeat(gbias * share)

        def task(gy: Any, x: Any, block: Any) -> None:
            np.subtract(gy, mean_gy, out=block)
            block *= scales
            deviation = x - means
            deviation *= slopes
            block -= deviation

        by_rows(task, gy_rows, rows, out)
        return gx, sum_gy, sum_gy_xhat

    def local_response_norm(self, x: Any, *options: Any) -> Any:
        return _by_pixels(super().local_response_norm, options, x)

    def local_response_norm_grad(self, gy: Any, x: Any, *options: Any) -> Any:
        return _by_pixels(super().local_response_norm_grad, options, gy, x)

    def _channel_windows(self, x: Any, size: int, before: int) -> Any:
        """Between the pixels stand size − 1 zeros, so that the whole block can be shifted and added
        as one flat row: no window reaches into the channels of the next pixel."""
        pixels, channels = x.shape
        after = min(size - 1 - before, channels - 1)  # what is further away does not exist
        before = min(before, channels - 1)
        padded = np.zeros((pixels, before + channels + after), x.dtype)
        padded[:, before : before + channels] = x
        flat = padded.reshape(-1)
        sums = flat.copy()
        for shift in range(1, before + after + 1):
            sums[: flat.size - shift] += flat[shift:]
        return sums.reshape(padded.shape)[:, :channels]


def _by_pixels(function: Callable[..., Any], options: Any, *arrays: Any) -> Any:
    """What a function of images gives, a block of pixels at a time."""
    out, y = like_rows_of(arrays[0])

    def task(block: Any, *inputs: Any) -> None:
        block[...] = function(*inputs, *options)

    by_rows(task, out, *map(rows_of, arrays))
    return y


def _image_rows(x: Any) -> tuple[Any, Callable[[Any], Any]]:
    """``x`` (N, C, …, W) as a (rows, W · C) matrix, and what repeats a vector (C,) to a row."""
    pixels = x.shape[-1] if x.ndim > 2 else 1
    rows = rows_of(x).reshape(-1, pixels * x.shape[1])
    return rows, lambda vector: np.tile(vector, pixels)


def _channel_sums(terms: Callable[..., Iterable[Any]], channels: int, *matrices: Any) -> list[Any]:
    """Sum each of the arrays ``terms(*blocks)`` over pixels, in float64: one (C,) array each.

    An array is summed before the next is asked for, so ``terms`` may work in one place.
    """

    def task(*blocks: Any) -> list[Any]:
        return [_column_sums(a.reshape(-1, channels)) for a in terms(*blocks)]

    parts = by_rows(task, *matrices)
    return [np.sum(part, axis=0) for part in zip(*parts, strict=True)]


def _column_sums(a: Any) -> Any:
    """Sum a matrix over its rows: 256 at a time as a product, those sums in float64."""
    ones = np.ones(256, a.dtype)
    whole = len(a) // 256 * 256
    parts = ones @ a[:whole].reshape(-1, 256, a.shape[1])
    return parts.sum(0, dtype=np.float64) + ones[: len(a) - whole] @ a[whole:]
