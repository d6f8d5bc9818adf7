"""Steps of the optimizers, in place, block by block: no array of a parameter's size is made."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyfcn.backend.base import Backend
from tinyfcn.backend.cpu.elementwise import in_blocks


class Optimizer(Backend):
    """In place, so that no array of the size of a parameter is made."""

    def sgd_update(
        self, param: Any, grad: Any, velocity: Any,
        momentum: float, gain: float, step: float, weight_decay: float, nesterov: bool,
    ) -> None:  # fmt: skip
        def block(param: Any, grad: Any, velocity: Any = None) -> None:
            d = direction = _decayed(grad, param, weight_decay)
            if velocity is not None:
                velocity *= momentum
                velocity += d if gain == 1 else d * gain
                if nesterov:
                    d += momentum * velocity
                else:
                    direction = velocity
            param -= np.multiply(direction, step, out=d)

        in_blocks(block, param, grad, *([] if velocity is None else [velocity]))

    def adam_update(
        self, param: Any, grad: Any, first: Any, second: Any,
        step: float, beta1: float, beta2: float, correction: float, eps: float,
        weight_decay: float, shrink: float,
    ) -> None:  # fmt: skip
        def block(param: Any, grad: Any, first: Any, second: Any) -> None:
            d = _decayed(grad, param, weight_decay)
            scratch = d * (1 - beta1)
            first *= beta1
            first += scratch
            d *= d
            d *= 1 - beta2
            second *= beta2
            second += d
            np.sqrt(second, out=d)
            d *= 1 / correction
            d += eps
            np.divide(first, d, out=d)
            d *= step
            if shrink != 1:
                param *= shrink
            param -= d

        in_blocks(block, param, grad, first, second)


def _decayed(grad: Any, param: Any, weight_decay: float) -> Any:
    """A new block with grad + weight_decay · param."""
    if weight_decay == 0:
        return grad.copy("K")
    d = param * weight_decay
    d += grad
    return d
