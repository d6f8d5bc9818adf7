"""Steps of the optimizers, in place: ``kernels/optimizer.cu``."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyfcn.backend.base import Array
from tinyfcn.backend.cuda.family import Family
from tinyfcn.backend.cuda.kernels import constant
from tinyfcn.backend.cuda.launcher import THREADS, Engine
from tinyfcn.backend.steps import Arrays

SHARE = constant("optimizer.cu", "SHARE")


class Optimizer(Family):
    """One launch over many arrays; one pass over each, and none in between."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        # Of arrays of these sizes, which come again at every step: the sizes, the first block of
        # each, on the device, and how many blocks there are.
        self._shares: dict[tuple[int, ...], tuple[Array, Array, int]] = {}

    def all_finite(self, arrays: Arrays) -> Array:
        if len({array.dtype for array in arrays}) > 1:
            return super().all_finite(arrays)
        found = self.zeros((1,), np.int32)
        self._launch("not_finite", (arrays,), found)
        return found[0] == 0

    def sgd_update(
        self, params: Arrays, grads: Arrays, velocities: Arrays,
        momentum: float, gain: float, step: float, weight_decay: float, nesterov: bool,
    ) -> None:  # fmt: skip
        tables = params, grads, None if velocities[0] is None else velocities
        self._launch("sgd_update", tables, momentum, gain, step, weight_decay, nesterov)

    def adam_update(
        self, params: Arrays, grads: Arrays, firsts: Arrays, seconds: Arrays,
        step: float, beta1: float, beta2: float, correction: float, eps: float,
        weight_decay: float, shrink: float,
    ) -> None:  # fmt: skip
        betas = beta1, 1 - beta1, beta2, 1 - beta2
        tables = params, grads, firsts, seconds
        self._launch("adam_update", tables, step, *betas, correction, eps, weight_decay, shrink)

    def _launch(self, name: str, tables: Any, *others: Any) -> None:
        sizes = tuple([array.size for array in tables[0]])
        if sizes not in self._shares:
            firsts = np.cumsum([0, *(-(-size // SHARE) for size in sizes)])
            of_blocks = np.array(sizes), firsts[:-1].astype(np.int32)
            self._shares[sizes] = *map(self.placed, of_blocks), int(firsts[-1])
        *shares, blocks = self._shares[sizes]
        self.launch(name, blocks, THREADS, *tables, *shares, len(sizes), *others)
