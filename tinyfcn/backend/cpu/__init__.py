"""The NumPy backend: fast bodies for what speed pays for, one file a family of primitives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyfcn.backend.cpu import layout, memory, threads
from tinyfcn.backend.cpu.activation import Activation
from tinyfcn.backend.cpu.conv import Convolution
from tinyfcn.backend.cpu.dropout import Dropout
from tinyfcn.backend.cpu.half import Half
from tinyfcn.backend.cpu.loss import Loss
from tinyfcn.backend.cpu.matmul import MatMul
from tinyfcn.backend.cpu.normalization import Normalization
from tinyfcn.backend.cpu.optimizer import Optimizer
from tinyfcn.backend.cpu.pooling import Pooling
from tinyfcn.backend.cpu.resample import Resample
from tinyfcn.backend.cpu.sums import Sums
from tinyfcn.backend.setting import steady


class NumpyBackend(
    Half,
    Activation,
    Convolution,
    Dropout,
    Loss,
    MatMul,
    Normalization,
    Optimizer,
    Pooling,
    Resample,
    Sums,
):
    """Computes on the CPU with NumPy alone, on every core; 4-D arrays are channels-last."""

    name = "numpy"

    def __init__(self) -> None:
        memory.keep()

    def later(self, function: Callable[[], Any]) -> Callable[[], Any]:
        # Another thread would not know of ``with steady``.
        return super().later(function) if steady.depth else threads.later(function)

    def empty(self, shape: Sequence[int], dtype: Any) -> Any:
        return self._made(np.empty, shape, dtype)

    def zeros(self, shape: Sequence[int], dtype: Any) -> Any:
        return self._made(np.zeros, shape, dtype)

    def _made(self, make: Any, shape: Sequence[int], dtype: Any) -> Any:
        if len(shape) != 4:
            return make(shape, dtype)
        n, c, h, w = shape
        return layout.logical(make((n, h, w, c), dtype))

    def concat(self, arrays: Sequence[Any], axis: int) -> Any:
        if arrays[0].ndim != 4:
            return np.concatenate(arrays, axis)
        axis = (0, 3, 1, 2)[axis]  # of (N, H, W, C)
        return layout.logical(np.concatenate([x.transpose(0, 2, 3, 1) for x in arrays], axis))
