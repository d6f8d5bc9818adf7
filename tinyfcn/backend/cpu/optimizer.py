"""Steps of the optimizers, in place, block by block: no array of a parameter's size is made."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyfcn.backend.base import Backend
from tinyfcn.backend.cpu.elementwise import in_blocks

BLOCK = 1 << 18  # elements; fewer than elsewhere, as each is passed over a dozen times


class Optimizer(Backend):
    """In place, so that no array of the size of a parameter is made."""

    def all_finite(self, arrays: Any) -> Any:
        return all(np.isfinite(a).all() for a in arrays)

    def sgd_update(
        self, params: Any, grads: Any, velocities: Any,
        momentum: float, gain: float, step: float, weight_decay: float, nesterov: bool,
    ) -> None:  # fmt: skip
        def task(param: Any, grad: Any, velocity: Any = None) -> None:
            scratch = np.empty_like(param)
            d = direction = _decayed(grad, param, weight_decay, scratch)
            if velocity is not None:
                velocity *= momentum
                velocity += d if gain == 1 else d * gain
                direction = d + momentum * velocity if nesterov else velocity
            param -= np.multiply(direction, step, out=scratch)

        for param, grad, velocity in zip(params, grads, velocities, strict=True):
            in_blocks(task, param, grad, *([] if velocity is None else [velocity]), block=BLOCK)

    def adam_update(
        self, params: Any, grads: Any, firsts: Any, seconds: Any,
        step: float, beta1: float, beta2: float, correction: float, eps: float,
        weight_decay: float, shrink: float,
    ) -> None:  # fmt: skip
        def task(param: Any, grad: Any, first: Any, second: Any) -> None:
            scratch, change = np.empty_like(param), np.empty_like(param)
            d = _decayed(grad, param, weight_decay, scratch)
            first *= beta1
            first += np.multiply(d, 1 - beta1, out=change)
            np.multiply(d, d, out=scratch)
            scratch *= 1 - beta2
            second *= beta2
            second += scratch
            np.sqrt(second, out=scratch)
            scratch += eps * correction
            np.divide(first, scratch, out=change)
            change *= step * correction
            if shrink != 1:
                param *= shrink
            param -= change

        for arrays in zip(params, grads, firsts, seconds, strict=True):
            in_blocks(task, *arrays, block=BLOCK)


def _decayed(grad: Any, param: Any, weight_decay: float, out: Any) -> Any:
    """grad + weight_decay · param, in ``out`` if that is not grad itself."""
    if weight_decay == 0:
        return grad
    np.multiply(param, weight_decay, out=out)
    out += grad
    return out
