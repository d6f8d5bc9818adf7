"""NumPy, except that new arrays hold NaN and not what memory happened to hold."""

from __future__ import annotations

from typing import Any

import numpy as np


class PoisonedNumpy:
    """The module ``numpy`` with another ``empty``: what a kernel forgets to write shows."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    @staticmethod
    def empty(shape: Any, dtype: Any = np.float64) -> np.ndarray[Any, Any]:
        """NaN in floating arrays; every byte is 0xff."""
        array = np.empty(shape, dtype)
        array.reshape(-1).view(np.uint8)[...] = 0xFF
        return array

    @staticmethod
    def asnumpy(array: Any) -> np.ndarray[Any, Any]:
        """As in CuPy."""
        return np.asarray(array)
