"""ReLU, block by block, so that what it needs in between stays in the cache."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyfcn.backend.base import Backend
from tinyfcn.backend.cpu.elementwise import elementwise, select
from tinyfcn.backend.cpu.threads import BLOCK


class Activation(Backend):
    """ReLU in one pass over memory."""

    def relu(self, x: Any) -> Any:
        # NumPy's maximum of two arrays takes half the time of array and number.
        zeros = np.zeros(min(x.size, BLOCK), x.dtype)
        return elementwise(lambda x, out: np.maximum(x, zeros[: x.shape[-1]], out=out), x)

    def relu_grad(self, gy: Any, y: Any) -> Any:
        return elementwise(lambda y, gy, out: select(gy, y > 0, out), y, gy)
