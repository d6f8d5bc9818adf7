"""Random bits from a counter: the same on every backend and for any number of threads."""

from __future__ import annotations

from typing import Any

import numpy as np


def random_numbers(xp: Any, seed: int, start: int, stop: int) -> Any:
    """Random 32-bit numbers 2·start … 2·stop − 1: the lower, then the upper half of each word.

    Word w is SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
    OOPSLA 2014) at position w + 1: a counter times an odd constant, then two rounds of
    multiplying and folding the upper bits down.

    Example:
        >>> hex(int(random_numbers(np, 1234567, 0, 1).view("<u8")[0]))  # as published
        '0x599ed017fb08fc85'
    """
    z = xp.arange(start + 1, stop + 1, dtype="<u8")
    shifted = xp.empty_like(z)
    z *= np.uint64(0x9E3779B97F4A7C15)
    z += np.uint64(seed)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z ^= xp.right_shift(z, np.uint64(shift), out=shifted)
        z *= np.uint64(factor)
    z ^= xp.right_shift(z, np.uint64(31), out=shifted)
    return z.view("<u4")
