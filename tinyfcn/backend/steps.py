"""Steps of the optimizers in plain array code: the part of the base that changes arrays in place.

Many parameters at once; the arrays of one have one shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Array = Any
Arrays = Sequence[Array]


class Steps:
    """What :class:`Backend` has for optimizers; see there."""

    xp: Any

    def all_finite(self, arrays: Arrays) -> Array:
        """Whether there is neither infinity nor NaN in them: one bool."""
        return self.xp.isfinite(self.xp.concatenate(arrays, axis=None)).all()

    def sgd_update(
        self, params: Arrays, grads: Arrays, velocities: Sequence[Array | None],
        momentum: float, gain: float, step: float, weight_decay: float, nesterov: bool,
    ) -> None:  # fmt: skip
        """d = grad + weight_decay · param;  v = momentum · v + gain · d;  param −= step · v
        (with nesterov: step · (d + momentum · v); without velocity: step · d)."""
        for param, grad, velocity in zip(params, grads, velocities, strict=True):
            d = grad + weight_decay * param
            if velocity is not None:
                velocity *= momentum
                velocity += gain * d
                d = d + momentum * velocity if nesterov else velocity
            param -= step * d

    def adam_update(
        self, params: Arrays, grads: Arrays, firsts: Arrays, seconds: Arrays,
        step: float, beta1: float, beta2: float, correction: float, eps: float,
        weight_decay: float, shrink: float,
    ) -> None:  # fmt: skip
        """d = grad + weight_decay · param;  m = beta1 · m + (1 − beta1) · d;
        v = beta2 · v + (1 − beta2) · d²;
        param = shrink · param − step · m / (√v / correction + eps)."""
        for param, grad, first, second in zip(params, grads, firsts, seconds, strict=True):
            d = grad + weight_decay * param
            for moment, power, beta in ((first, d, beta1), (second, d * d, beta2)):
                moment *= beta
                moment += (1 - beta) * power
            param *= shrink
            param -= step * first / (self.xp.sqrt(second) / correction + eps)
