"""Batch and local response normalization.

Per-channel vectors meet images as long rows of numbers, (rows, pixels · C), and are repeated once
for every pixel of a row. A sum over pixels is one over the rows of a block, at most 64, and then in
float64 over the pixels of a row and over the blocks in their order, whatever thread did them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyfcn.backend.base import Backend
from tinyfcn.backend.cpu.elementwise import by_rows, like_rows_of, rows_of, select

# Elements of a row. Beside shorter ones NumPy copies the vector again for every row.
LONG = 1 << 13

# Standard deviations. Up to here E[x²] is at most 16 times the variance, so x need not be shifted.
FAR = 15**0.5


class Normalization(Backend):
    """Batch and local response normalization."""

    def sum_pixels(self, x: Any) -> Any:
        (sums,) = _sums(lambda block: (_over_rows(block),), [rows_of(x)])
        return sums.astype(x.dtype)

    def batch_norm_stats(self, x: Any) -> tuple[Any, Any]:
        """Mean and biased variance of each channel.

        With deviations d = x − shift: mean = shift + E[d], variance = E[d²] − E[d]². The shift is 0
        unless the mean of a channel turns out to be so far away that the variance lost digits.
        """
        rows, count = rows_of(x), x.size // x.shape[1]

        def terms(block: Any, *shift: Any) -> tuple[Any, Any]:
            d = block - shift[0] if shift else block
            return _over_rows(d), _over_rows(d, d)

        def moments(*shift: Any) -> tuple[Any, Any]:
            first, second = (total / count for total in _sums(terms, [rows], shift))
            return sum(shift, first), second - first**2

        mean, var = moments()
        if (mean**2 > FAR**2 * var).any():
            mean, var = moments(mean.astype(x.dtype))
        return mean.astype(x.dtype), var.astype(x.dtype)

    def batch_norm(
        self, x: Any, mean: Any, invstd: Any, weight: Any, bias: Any, relu: bool = False
    ) -> Any:
        out, y = like_rows_of(x)
        scale, (far, shift) = invstd * weight, _shift(mean, invstd)
        vectors = shift, scale, bias - (mean - shift) * scale, np.zeros_like(bias)

        def task(block: Any, out: Any, shift: Any, scale: Any, bias: Any, zero: Any) -> None:
            np.multiply(np.subtract(block, shift, out=out) if far else block, scale, out=out)
            out += bias
            if relu:
                np.maximum(out, zero, out=out)

        _by_long_rows(task, [rows_of(x), out], vectors)
        return y

    def batch_norm_grad(
        self, gy: Any, x: Any, mean: Any, invstd: Any, weight: Any, share: float, y: Any = None,
        total: Callable[..., Any] | None = None,
    ) -> tuple[Any, Any, Any]:  # fmt: skip
        out, gx = like_rows_of(x)
        far, shift = _shift(mean, invstd)

        def terms(gy: Any, x: Any, y: Any, out: Any, shift: Any) -> tuple[Any, Any]:
            if relu:
                gy = select(gy, y > 0, out)
            return _over_rows(gy), _over_rows(gy, x - shift if far else x)

        relu, gy_rows, rows = y is not None, rows_of(gy), rows_of(x)
        first, second = _sums(terms, [gy_rows, rows, rows_of(y) if relu else rows, out], [shift])
        sum_gy = first.astype(x.dtype)
        sum_gy_xhat = ((second - (mean - shift) * first) * invstd).astype(x.dtype)
        gbias, gweight = total(sum_gy, sum_gy_xhat) if total else (sum_gy, sum_gy_xhat)
        # gx = scale · (gy + slope · (x − shift) + offset)
        slope = -invstd * gweight * share
        offset = -gbias * share - (mean - shift) * slope

        def task(
            gy: Any, x: Any, out: Any, shift: Any, scale: Any, slope: Any, offset: Any
        ) -> None:
            terms = (x - shift if far else x) * slope
            terms += gy
            terms += offset
            np.multiply(terms, scale, out=out)

        vectors = shift, weight * invstd, slope, offset
        _by_long_rows(task, [out if relu else gy_rows, rows, out], vectors)
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


def _shift(mean: Any, invstd: Any) -> tuple[bool, Any]:
    """Whether a channel's mean is far from 0, and the shift of x: the mean if so, else 0."""
    far = bool((np.abs(mean) * invstd > FAR).any())
    return far, mean if far else np.zeros_like(mean)


def _by_long_rows(
    task: Callable[..., Any], matrices: Sequence[Any], vectors: Sequence[Any]
) -> list[Any]:
    """Call ``task(*blocks, *vectors)`` on blocks of (pixels, C) matrices in the shape of long rows
    and on the vectors (C,), repeated to a row; what is left at the end is a shorter row."""
    pixels, channels = matrices[0].shape
    length = min(-(-LONG // channels), max(1, pixels))
    whole = pixels // length * length
    repeated = np.array(vectors, matrices[0].dtype).reshape(-1, 1, channels).repeat(length, 1)
    repeated = repeated.reshape(len(vectors), length * channels)

    def work(*blocks: Any) -> Any:
        return task(*blocks, *repeated[:, : blocks[0].shape[1]])

    results = by_rows(work, *(a[:whole].reshape(-1, length * channels) for a in matrices))
    if whole < pixels:
        results += by_rows(work, *(a[whole:].reshape(1, -1) for a in matrices))
    return results


def _sums(
    terms: Callable[..., tuple[Any, ...]], matrices: Sequence[Any], vectors: Sequence[Any] = ()
) -> list[Any]:
    """The (C,) sums over pixels, in float64, of what ``terms`` gives summed over rows."""
    channels = matrices[0].shape[1]

    def task(*blocks: Any) -> list[Any]:
        pixels = np.ones(blocks[0].shape[1] // channels)
        return [pixels @ row.astype(np.float64).reshape(-1, channels) for row in terms(*blocks)]

    parts = _by_long_rows(task, matrices, vectors)
    return [np.sum(part, axis=0) for part in zip(*parts, strict=True)]


def _over_rows(a: Any, b: Any = None) -> Any:
    """Sum over the rows of a, or of the products a · b."""
    return np.ones(len(a), a.dtype) @ a if b is None else np.einsum("ij,ij->j", a, b)
