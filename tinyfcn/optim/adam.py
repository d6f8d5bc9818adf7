"""Adam: steps measured by running means of the gradient and of its square."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinyfcn import backend
from tinyfcn.optim.optimizer import Optimizer, Params
from tinyfcn.tensor import Array

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """w ← w − lr · m̂ / (√v̂ + eps), with running means m of g and v of g².

        m ← β₁ m + (1 − β₁) g,  m̂ = m / (1 − β₁ᵗ),  v and v̂ likewise with g² and β₂

    in step t; the hats undo the start at 0. The weight decay is added to g first.

    Args:
        params: tensors, or dicts with ``"params"`` and options of their own.
        lr: learning rate, about the largest change of a weight in one step.
        betas: (β₁, β₂), in [0, 1).
        eps: keeps the quotient finite.
        weight_decay: factor of the L2 penalty; by default 0, for :class:`AdamW` 0.01.

    Source: Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015.

    Example:
        >>> import tinyfcn
        >>> w = tinyfcn.tensor([1.0], requires_grad=True)
        >>> optimizer = Adam([w], lr=0.1)
        >>> (w * 5.0).sum().backward()
        >>> optimizer.step()
        >>> round(w.item(), 4)  # the first step has length lr, however large the gradient is
        0.9
    """

    _primitive, _decoupled, _weight_decay = "adam_update", False, 0.0

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float | None = None,
    ) -> None:
        decay = self._weight_decay if weight_decay is None else weight_decay
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": decay})

    def _check(self, group: Mapping[str, Any]) -> None:
        super()._check({key: x for key, x in group.items() if key != "betas"})
        given = group["betas"]
        betas = given if isinstance(given, tuple | list) else ()
        if len(betas) != 2 or not all(isinstance(b, int | float) and 0 <= b < 1 for b in betas):
            name = type(self).__name__
            raise ValueError(f"{name}: betas must be two numbers in [0, 1), got {given!r}")

    def _start(self, param: Array) -> dict[str, Any]:
        zeros_like = backend.active().xp.zeros_like
        return {"step": 0, "first": zeros_like(param), "second": zeros_like(param)}

    def _update(self, param: Array, state: dict[str, Any], group: Any) -> tuple[Any, Any]:
        if not state:
            state.update(self._start(param))
        state["step"] += 1
        beta1, beta2 = group["betas"]
        lr, decay = group["lr"], group["weight_decay"]
        step = lr / (1 - beta1 ** state["step"])
        correction = (1 - beta2 ** state["step"]) ** 0.5
        penalty, shrink = (0.0, 1 - lr * decay) if self._decoupled else (decay, 1.0)
        numbers = step, beta1, beta2, correction, group["eps"], penalty, shrink
        return [state["first"], state["second"]], numbers


class AdamW(Adam):
    """Adam whose weight decay shrinks the weights directly, w ← (1 − lr · weight_decay) · w.

    Added to the gradient, as in :class:`Adam`, a penalty is divided by √v̂ too, so that weights with
    large gradients hardly decay.

    Source: Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019.
    """

    _decoupled, _weight_decay = True, 1e-2
