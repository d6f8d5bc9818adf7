"""Loss scaling: gradients that float16 can hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinyfcn import backend
from tinyfcn.optim.optimizer import Optimizer
from tinyfcn.tensor import Tensor

__all__ = ["GradScaler"]

LARGEST = 2.0**127  # in float32; gradients that are all 0 never object


class GradScaler:
    """Multiplies the loss by a factor s, and the gradients by 1 / s before a step.

    Below 2⁻²⁴ float16 has no numbers, and of many networks half of the gradients are smaller. With
    the loss they are all multiplied by s, so they stay above; in float32, which the gradients of
    parameters are, 1 / s undoes it exactly. Where s was too large and a gradient is ∞ or NaN, the
    step is skipped and s ← backoff_factor · s; after ``growth_interval`` steps in a row without
    that, s ← growth_factor · s. Names and defaults are PyTorch's (``torch.amp.GradScaler``).

        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)  # only where gradients are changed before the step
        scaler.step(optimizer)
        scaler.update()

    Args:
        init_scale: s of the first step.
        growth_factor, backoff_factor, growth_interval: see above.
        enabled: if not, s is 1, and no step is skipped.

    Source: Micikevicius et al., "Mixed precision training", ICLR 2018, section 3.2.

    Example:
        >>> import tinyfcn
        >>> w = tinyfcn.tensor([1.0], requires_grad=True)
        >>> optimizer, scaler = tinyfcn.optim.SGD([w], lr=0.5), GradScaler()
        >>> for factor in (float("inf"), 1.0):
        ...     w.grad = None
        ...     scaler.scale((w * factor).sum()).backward()
        ...     scaler.step(optimizer)
        ...     scaler.update()
        ...     print(w.item(), scaler.get_scale())
        1.0 32768.0
        0.5 32768.0
    """

    def __init__(
        self, init_scale: float = 2.0**16, growth_factor: float = 2.0, backoff_factor: float = 0.5,
        growth_interval: int = 2000, enabled: bool = True,
    ) -> None:  # fmt: skip
        if not (init_scale > 0 and growth_factor >= 1 and 0 < backoff_factor < 1):
            raise ValueError(
                "GradScaler: expected init_scale > 0, growth_factor ≥ 1 and backoff_factor in "
                f"(0, 1), got {init_scale!r}, {growth_factor!r} and {backoff_factor!r}"
            )
        self.growth_factor, self.backoff_factor = growth_factor, backoff_factor
        self.growth_interval, self.enabled = growth_interval, enabled
        self._scale, self._good = float(init_scale) if enabled else 1.0, 0
        self._finite: bool | None = None  # whether the gradients are, once they are unscaled

    def get_scale(self) -> float:
        """s."""
        return self._scale

    def scale(self, loss: Tensor) -> Tensor:
        """s · loss."""
        return loss * self._scale if self.enabled else loss

    def unscale_(self, optimizer: Optimizer) -> bool:
        """Multiply the gradients of the optimizer's parameters by 1 / s, once a step; whether they
        are all finite."""
        if self._finite is not None or not self.enabled:
            return self._finite is not False
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        given = [p for p in parameters if p.grad is not None]
        grads = [p.grad.data for p in given]
        self._finite = not grads or bool(backend.active().all_finite(grads))
        for p in given if self._finite else ():
            p.grad = Tensor(p.grad.data * p.dtype.type(1 / self._scale))
        return self._finite

    def step(self, optimizer: Optimizer) -> None:
        """``optimizer.step()``, unless a gradient is not finite."""
        if self.unscale_(optimizer):
            optimizer.step()

    def update(self) -> None:
        """s for the next step."""
        self._good = self._good + 1 if self._finite else 0
        if self._finite is False:
            self._scale *= self.backoff_factor
        elif self._good == self.growth_interval:
            self._scale, self._good = min(self._scale * self.growth_factor, LARGEST), 0
        self._finite = None

    def state_dict(self) -> dict[str, Any]:
        """s, and how many steps in a row went well; nothing if not enabled."""
        return {"scale": self._scale, "_growth_tracker": self._good} if self.enabled else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state; one without a scale changes nothing.

        Raises:
            ValueError: if the scale is no number that there can be.
        """
        if self.enabled and state:
            if not 0 < state["scale"] <= LARGEST:
                raise ValueError(f"GradScaler: scale cannot be {state['scale']!r}")
            self._scale, self._good = float(state["scale"]), int(state["_growth_tracker"])
