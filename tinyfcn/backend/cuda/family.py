"""What the families of primitives share: launches, and arrays of the engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyfcn.backend.base import Array, Backend
from tinyfcn.backend.cuda.launcher import Engine, Launcher
from tinyfcn.backend.half import wide


class Family(Backend):
    """Base class. Arrays lie in memory as kernels count on it: C-contiguous, (N, C, H, W) and
    weights (OC, C/G, KH, KW)."""

    native = frozenset({"sum"})  # a plain body, which sums in float64

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.name, self.xp, self.eager = engine.name, engine.xp, engine.eager
        self.launch = Launcher(engine)

    def compute(self, name: str, shape: Sequence[int], *arguments: Any) -> Array:
        """A new array of the dtype of the first argument, or ``wide`` where the kernel writes that;
        a thread computes an element.

        The arguments are those of the kernel, but for the new array, which is the first that it
        writes, and ``count``.
        """
        parameters = self.engine.kernels[name].parameters
        place = [p.const for p in parameters].index(False)
        dtype = arguments[0].dtype
        y = self.empty(shape, wide(dtype) if parameters[place].type == "wide<T>*" else dtype)
        self.launch.each(name, y.size, *arguments[:place], y, *arguments[place:])
        return y

    def upload(self, data: Any) -> Callable[[], Array]:
        return self.engine.upload(data)

    def synchronize(self) -> None:
        self.engine.synchronize()

    def to_numpy(self, array: Array) -> Any:
        return np.asarray(array) if self.xp is np else self.xp.asnumpy(array)

    def empty(self, shape: Sequence[int], dtype: Any) -> Array:
        return self.engine.empty(tuple(shape), dtype)

    def placed(self, values: Any) -> Array:
        """A NumPy array on the device, where the engine puts arrays."""
        array = self.empty(values.shape, values.dtype)
        array[...] = self.as_array(values)
        return array

    def concat(self, arrays: Sequence[Array], axis: int) -> Array:
        return self.xp.ascontiguousarray(super().concat(arrays, axis))


def image_size(x: Array) -> tuple[int, int]:
    """Channels of x (N, C, …), and the pixels of each."""
    return x.shape[1], math.prod(x.shape[2:])
