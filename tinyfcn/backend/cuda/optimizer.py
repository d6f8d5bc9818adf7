"""Steps of the optimizers, in place: ``kernels/optimizer.cu``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tinyfcn.backend.cuda.family import Array, Family


class Optimizer(Family):
    """See "optimizers" in ``tinyfcn.backend.interface``."""

    def sgd_update(
        self, param: Array, grad: Array, velocity: Array | None,
        momentum: float, gain: float, step: float, weight_decay: float, nesterov: bool,
    ) -> None:  # fmt: skip
        """d = grad + weight_decay · param;  v = momentum · v + gain · d;  param −= step · v
        (with nesterov: step · (d + momentum · v); without velocity: step · d)."""
        with self._in_place(param, velocity) as (p, v):
            self.launch.each(
                "sgd_update", p.dtype, p.size, p, self.contiguous(grad), v,
                momentum, gain, step, weight_decay, int(nesterov), p.size,
            )  # fmt: skip

    def adam_update(
        self, param: Array, grad: Array, first: Array, second: Array,
        step: float, beta1: float, beta2: float, correction: float, eps: float,
        weight_decay: float, shrink: float,
    ) -> None:  # fmt: skip
        """d = grad + weight_decay · param;  m = beta1 · m + (1 − beta1) · d;
        v = beta2 · v + (1 − beta2) · d²;
        param = shrink · param − step · m / (√v / correction + eps)."""
        with self._in_place(param, first, second) as (p, m, v):
            self.launch.each(
                "adam_update", p.dtype, p.size, p, self.contiguous(grad), m, v,
                step, beta1, 1 - beta1, beta2, 1 - beta2, correction, eps, weight_decay, shrink,
                p.size,
            )  # fmt: skip

    @contextlib.contextmanager
    def _in_place(self, *arrays: Array) -> Iterator[list[Array]]:
        """The arrays C-contiguous, None for None; what is written into copies goes back."""
        whole = [None if array is None else self.contiguous(array) for array in arrays]
        yield whole
        for array, changed in zip(arrays, whole, strict=True):
            if changed is not array and array is not None:
                array[...] = changed
