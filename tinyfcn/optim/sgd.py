"""Stochastic gradient descent with momentum, and where Caffe's differs.

With gradient g, momentum µ, learning rate lr and velocity v:

    PyTorch, here by default     v ← µ v + g            w ← w − lr v
    Caffe, caffe_momentum=True   v ← µ v + lr g         w ← w − v

For a constant lr both take the same steps. When lr falls, PyTorch's v is scaled down at once, while
Caffe's goes on with the steps it has gathered under the old lr for about 1 / (1 − µ) iterations.
The FCN papers trained with Caffe at constant rates, where the choice does not matter. Both add the
weight decay to the gradient: g + decay · w.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinyfcn import backend
from tinyfcn.optim.optimizer import Optimizer, Params
from tinyfcn.tensor import Array

__all__ = ["SGD"]


class SGD(Optimizer):
    """w ← w − lr · v with v ← momentum · v + (1 − dampening) · (g + weight_decay · w).

    Args:
        params: tensors, or dicts with ``"params"`` and options of their own.
        lr: learning rate.
        momentum: share of the last velocity that is kept; 0 keeps no velocity.
        dampening: lowers the share of the gradient; not in the first step, where v = g.
        weight_decay: factor of the L2 penalty.
        nesterov: step by g + momentum · v instead; needs momentum and no dampening.
        caffe_momentum: put the learning rate inside the velocity, see the head of this file.

    Source: Sutskever et al., "On the importance of initialization and momentum in deep learning",
    ICML 2013.

    Example:
        >>> import tinyfcn
        >>> w = tinyfcn.tensor([1.0], requires_grad=True)
        >>> optimizer = SGD([w], lr=0.1, momentum=0.9)
        >>> for _ in range(2):
        ...     optimizer.zero_grad()
        ...     (w * 2.0).sum().backward()
        ...     optimizer.step()
        >>> round(w.item(), 4)  # 1 − 0.1 · 2 − 0.1 · (0.9 · 2 + 2)
        0.42
    """

    _primitive = "sgd_update"

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        caffe_momentum: bool = False,
    ) -> None:
        options = {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
            "nesterov": nesterov, "caffe_momentum": caffe_momentum,
        }  # fmt: skip
        super().__init__(params, options)

    def _check(self, group: Mapping[str, Any]) -> None:
        switches = {key: group[key] for key in ("nesterov", "caffe_momentum")}
        super()._check({key: x for key, x in group.items() if key not in switches})
        if not all(isinstance(x, bool) for x in switches.values()):
            raise ValueError(f"SGD: switches must be True or False, got {switches}")
        momentum, dampening = group["momentum"], group["dampening"]
        if group["nesterov"] and (momentum == 0 or dampening != 0 or group["caffe_momentum"]):
            raise ValueError(
                "SGD: nesterov needs momentum above 0, dampening 0 and caffe_momentum=False, got "
                f"momentum {momentum}, dampening {dampening}, "
                f"caffe_momentum={group['caffe_momentum']}"
            )

    def _start(self, param: Array) -> dict[str, Any]:
        return {"velocity": backend.active().xp.zeros_like(param)}

    def _update(self, param: Array, state: dict[str, Any], group: Any) -> tuple[Any, Any]:
        momentum, lr = group["momentum"], group["lr"]
        gain = 1.0 - group["dampening"] if state else 1.0
        if momentum != 0 and not state:
            state.update(self._start(param))
        velocity = state["velocity"] if momentum != 0 else None
        inside = group["caffe_momentum"] and velocity is not None
        gain, step = (gain * lr, 1.0) if inside else (gain, lr)
        return [velocity], (momentum, gain, step, group["weight_decay"], group["nesterov"])
