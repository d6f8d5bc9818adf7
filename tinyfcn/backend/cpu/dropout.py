"""Dropout from a counter: whether element i is dropped is a hash of (seed, i).

So a mask is never stored: backward makes the same one again. Neither the memory layout of the
input nor the number of threads enters, and a GPU gives the very same mask.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyfcn.backend.base import Backend
from tinyfcn.backend.cpu.elementwise import select
from tinyfcn.backend.cpu.layout import channels_last, logical
from tinyfcn.backend.cpu.threads import BLOCK, parallel_for, split
from tinyfcn.backend.splitmix import random_numbers


class Dropout(Backend):
    """Random numbers a block at a time."""

    def dropout(self, x: Any, p: float, seed: int) -> Any:
        image = x.ndim == 4
        x = channels_last(x) if image else np.asarray(x, order="C")
        y = np.empty_like(x)
        flat, out = x.reshape(-1), y.reshape(-1)
        threshold = np.uint32(min(round(p * 2**32), 2**32 - 1))
        scale = flat.dtype.type(1 / (1 - p))
        words = split((flat.size + 1) // 2, BLOCK // 2)  # each 64-bit word decides on two elements

        def task(word: slice) -> None:
            first, last = 2 * word.start, min(2 * word.stop, flat.size)
            keep = random_numbers(np, seed, word.start, word.stop)[: last - first]
            select(flat[first:last], keep >= threshold, out[first:last])
            out[first:last] *= scale

        parallel_for(task, words)
        return logical(y) if image else y
