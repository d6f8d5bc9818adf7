"""Steps of the optimizers, in place: ``kernels/optimizer.cu``."""

from __future__ import annotations

from tinyfcn.backend.base import Array
from tinyfcn.backend.cuda.family import Family


class Optimizer(Family):
    """One pass over the arrays, and none in between."""

    def sgd_update(
        self, param: Array, grad: Array, velocity: Array | None,
        momentum: float, gain: float, step: float, weight_decay: float, nesterov: bool,
    ) -> None:  # fmt: skip
        numbers = momentum, gain, step, weight_decay, nesterov
        self.launch.each("sgd_update", param.size, param, grad, velocity, *numbers)

    def adam_update(
        self, param: Array, grad: Array, first: Array, second: Array,
        step: float, beta1: float, beta2: float, correction: float, eps: float,
        weight_decay: float, shrink: float,
    ) -> None:  # fmt: skip
        betas = beta1, 1 - beta1, beta2, 1 - beta2
        numbers = step, *betas, correction, eps, weight_decay, shrink
        self.launch.each("adam_update", param.size, param, grad, first, second, *numbers)
