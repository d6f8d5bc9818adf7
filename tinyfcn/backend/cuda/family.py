"""What the families of primitives share: an engine to launch on, and arrays of that engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinyfcn.backend.base import Backend
from tinyfcn.backend.cuda.launcher import Engine, Launcher

Array = Any


class Family(Backend):
    """Base class. Primitives are methods that take and give logical (N, C, H, W) arrays; on this
    backend they also lie in memory so, C-contiguous."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.launch = Launcher(engine)
        self.xp = engine.xp

    def empty(self, shape: Sequence[int], dtype: Any) -> Array:
        """A new C-contiguous array; what it holds is undefined."""
        return self.engine.empty(tuple(shape), dtype)
