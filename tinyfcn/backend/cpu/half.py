"""Conversions between float32 and 16 bits, block by block on every thread.

NumPy converts float16 number by number, 4 ns each; the same on the bits of whole arrays takes a
quarter of that. float16 has 5 bits of exponent and 10 of mantissa, and float32 has 8 and 23:
shifted by 13 bits, one is the other times 2¹¹².
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyfcn.backend import half
from tinyfcn.backend.cpu.elementwise import in_blocks

BLOCK = 1 << 16  # elements; each is passed over a dozen times
SIGN, MIDDLE, DOWN = np.int32(-(1 << 31)), np.int32(0xFFF), np.int32(112 << 23)
SMALLEST = np.float32(2**-14)  # that has all its digits in float16
ONE_HALF = np.float32(0.5)  # added to smaller ones, it rounds them to as many as are left


class Half(half.Half):
    """Half precision, with conversions of its own."""

    def cast(self, x: Any, dtype: Any) -> Any:
        y = np.empty_like(x, dtype)
        task = _narrow if y.dtype == half.HALF else _widen
        exact = {x.dtype, y.dtype} == {half.HALF, np.dtype(np.float32)}

        def work(y: Any, x: Any) -> None:
            if not exact or not task(y, x):
                y[...] = super(Half, self).cast(x, dtype)

        in_blocks(work, y, x, block=BLOCK)
        return y

    def round_to_bfloat16(self, x: Any) -> None:
        in_blocks(super().round_to_bfloat16, x, block=BLOCK)


def _widen(y: Any, x: Any) -> bool:
    """float16 to float32; False, and nothing, where some are not finite."""
    bits = x.view(np.int16)
    if (bits & 0x7FFF).max(initial=0) >= 0x7C00:
        return False
    whole = np.left_shift(bits, 13, out=y.view(np.int32), dtype=np.int32)
    whole &= SIGN | np.int32(0x0FFFE000)
    y *= np.float32(2.0**112)
    return True


def _narrow(y: Any, x: Any) -> bool:
    """float32 to float16, to the nearest, ties to even; False, and nothing, where some overflow."""
    size = np.abs(x)
    if not size.max(initial=0) < 65520:
        return False
    bits, small = size.view(np.int32), np.minimum(size, SMALLEST)
    small += ONE_HALF
    few = small.view(np.int32)
    few -= ONE_HALF.view(np.int32)
    odd = bits >> 13
    odd &= 1
    bits += odd
    bits += MIDDLE - DOWN
    bits >>= 13
    np.maximum(bits, few, out=bits)
    np.right_shift(x.view(np.int32) & SIGN, 16, out=few)
    bits |= few
    np.copyto(y.view(np.int16), bits, casting="unsafe")
    return True
