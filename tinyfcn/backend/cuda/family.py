"""What the families of primitives share: an engine to launch on, and arrays of that engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyfcn.backend.base import Array, Backend
from tinyfcn.backend.cuda.launcher import Engine, Launcher


class Family(Backend):
    """Base class. Arrays lie in memory as kernels count on it: C-contiguous, (N, C, H, W) and
    weights (OC, C/G, KH, KW)."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.name, self.xp, self.eager = engine.name, engine.xp, engine.eager
        self.launch = Launcher(engine)

    def upload(self, data: Any) -> Array:
        return self.engine.upload(data)

    def synchronize(self) -> None:
        self.engine.synchronize()

    def to_numpy(self, array: Array) -> Any:
        return np.asarray(array) if self.xp is np else self.xp.asnumpy(array)

    def empty(self, shape: Sequence[int], dtype: Any) -> Array:
        return self.engine.empty(tuple(shape), dtype)

    def concat(self, arrays: Sequence[Array], axis: int) -> Array:
        return self.xp.ascontiguousarray(super().concat(arrays, axis))
