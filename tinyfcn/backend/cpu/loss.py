"""Softmax cross-entropy and its parts, pixel by pixel.

``labels`` are int32 of shape (N, …), checked: in [0, C), or −1 for a pixel that does not count,
whose loss and gradient are 0. Logits are (N, C, …).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyfcn.backend.base import Backend
from tinyfcn.backend.cpu.elementwise import by_rows, like_rows_of, rows_of, select
from tinyfcn.backend.cpu.sums import sum_axis

BLOCK = 1 << 18  # elements; pixels are transposed, which has to stay in the cache


class Loss(Backend):
    """Cross-entropy, a block of pixels at a time."""

    def cross_entropy(self, x: Any, labels: Any) -> Any:
        loss = np.empty(labels.size, _wide(x))

        def task(rows: Any, labels: Any, pixels: Any) -> None:
            columns = _shifted(rows, labels)
            position = np.arange(labels.size)
            position += labels * position.size
            picked = columns.reshape(-1).take(position, mode="clip")  # some number for label −1
            np.exp(columns, out=columns)
            np.log(sum_axis(columns, 0)[0], out=pixels)
            pixels -= picked
            select(pixels, labels >= 0, pixels)

        by_rows(task, rows_of(x), labels.reshape(-1), loss, block=BLOCK)
        return loss.reshape(labels.shape)

    def cross_entropy_grad(self, gy: Any, x: Any, labels: Any) -> Any:
        gy = select(gy, labels >= 0, np.empty_like(gy)).reshape(-1)
        out, gx = like_rows_of(x)

        def task(rows: Any, labels: Any, g: Any, block: Any) -> None:
            columns = _shifted(rows, labels)
            np.exp(columns, out=columns)
            columns *= g / sum_axis(columns, 0)[0]
            position = np.arange(labels.size)
            position += np.maximum(labels, 0) * position.size  # any class for label −1: g is 0
            columns.reshape(-1)[position] -= g
            with np.errstate(over="ignore"):
                block[...] = columns.T

        by_rows(task, rows_of(x), labels.reshape(-1), gy, out, block=BLOCK)
        return gx


def _shifted(rows: Any, labels: Any) -> Any:
    """The logits of a pixel in a column, less the largest; 0 where one that does not count has ∞ or
    NaN, which times a gradient of 0 would not be 0. Of float16 they are float32."""
    columns = rows.T.astype(_wide(rows), order="C")
    largest = columns.max(0)
    finite = np.isfinite(largest)
    if not finite.all():
        lost = (labels < 0) & ~finite
        columns[:, lost], largest[lost] = 0, 0
    with np.errstate(over="ignore"):
        columns -= largest
    return columns


def _wide(x: Any) -> Any:
    return np.result_type(x.dtype, np.float32)
