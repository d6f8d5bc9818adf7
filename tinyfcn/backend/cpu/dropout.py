"""Dropout from a counter: whether element i is dropped is a hash of (seed, i).

So a mask is never stored: backward makes the same one again. Neither the memory layout of the
input nor the number of threads enters, and a GPU gives the very same mask.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyfcn.backend.cpu.layout import channels_last, logical
from tinyfcn.backend.cpu.threads import BLOCK, blocks, parallel_for


def dropout(x: Any, p: float, seed: int) -> Any:
    """Element i of x is 0 if random 32-bit number i is below p · 2³², else x / (1 − p).

    i counts pixels first and channels fastest, (n, h, w, c), for 4-D arrays, and in C order
    otherwise.
    """
    image = x.ndim == 4
    flat = (channels_last(x) if image else np.ascontiguousarray(x)).reshape(-1)
    out = np.empty_like(flat)
    threshold = np.uint32(min(round(p * 2**32), 2**32 - 1))
    scale = flat.dtype.type(1 / (1 - p))
    words = blocks((flat.size + 1) // 2, BLOCK // 2)  # each 64-bit word decides on two elements

    def task(i: int) -> None:
        first, last = 2 * words[i].start, min(2 * words[i].stop, flat.size)
        keep = random_bits(seed, words[i].start, words[i].stop)[: last - first] >= threshold
        np.multiply(flat[first:last], keep, out=out[first:last])
        out[first:last] *= scale

    parallel_for(task, len(words))
    if image:
        n, c, h, w = x.shape
        return logical(out.reshape(n, h, w, c))
    return out.reshape(x.shape)


def random_bits(seed: int, start: int, stop: int) -> Any:
    """Random 32-bit numbers 2·start … 2·stop − 1: the lower, then the upper half of each word.

    Word w is SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
    OOPSLA 2014) at position w + 1: a counter times an odd constant, then two rounds of
    multiplying and folding the upper bits down.

    Example:
        >>> hex(int(random_bits(1234567, 0, 1).view("<u8")[0]))  # as published implementations
        '0x599ed017fb08fc85'
    """
    z = np.arange(start + 1, stop + 1, dtype="<u8")
    shifted = np.empty_like(z)
    z *= np.uint64(0x9E3779B97F4A7C15)
    z += np.uint64(seed)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z ^= np.right_shift(z, np.uint64(shift), out=shifted)
        z *= np.uint64(factor)
    z ^= np.right_shift(z, np.uint64(31), out=shifted)
    return z.view("<u4")
