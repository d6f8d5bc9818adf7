"""What a training may do besides its steps: keep a trunk, or let it learn slowly; clip gradients;
average weights.

The trunk is the part that a network has of a classifier. Frozen, it stays as it is, and what a few
images have to teach goes into the rest: its parameters get no gradient, and it runs in evaluation
mode, with the means and variances of batch norm that it has (He et al., "Deep residual learning",
CVPR 2016, appendix A).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from typing import Any

from tinyfcn import Tensor, backend
from tinyfcn.nn import Module


def trunk(model: Module) -> Module:
    """The model's ``backbone`` or ``encoder``.

    Raises:
        ValueError: if it has neither.

    Example:
        >>> import tinyfcn
        >>> type(trunk(tinyfcn.models.segnet(num_classes=3, width=1 / 64))).__name__
        'VGGBackbone'
    """
    for name in ("backbone", "encoder"):
        part = getattr(model, name, None)
        if isinstance(part, Module):
            return part
    raise ValueError("this network has no trunk, which is a backbone or an encoder")


def scale_lr(
    groups: Iterable[Mapping[str, Any]], part: Module, factor: float
) -> list[dict[str, Any]]:
    """Parameter groups in which a part of the model learns by a factor faster than the rest.

    What is copied from a classifier needs smaller steps than what is new (Girshick et al., "Rich
    feature hierarchies", CVPR 2014, section 2.3).

    Example:
        >>> from tinyfcn import nn, optim
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 2, 1))
        >>> groups = optim.parameter_groups(model, lr=0.1, bias_lr_factor=1.0)
        >>> [(len(g["params"]), round(g["lr"], 3)) for g in scale_lr(groups, model[0], 0.1)]
        [(1, 0.1), (1, 0.01), (1, 0.1), (1, 0.01)]
    """
    own, scaled = {*part.parameters()}, []
    for group in groups:
        for inside, lr in ((False, group["lr"]), (True, factor * group["lr"])):
            if chosen := [p for p in group["params"] if (p in own) is inside]:
                scaled.append({**group, "params": chosen, "lr": lr})
    return scaled


def clip_gradients(parameters: Iterable[Tensor], most: float) -> float:
    """Where the norm of all gradients together is above ``most``, multiply each by most / norm.

    One batch that is unlike the others then cannot throw the weights far away.

    Returns:
        The norm from before: √Σ g² over all numbers of all gradients.

    Source: Pascanu, Mikolov, Bengio, "On the difficulty of training recurrent neural networks",
    ICML 2013, section 3.2.

    Example:
        >>> import tinyfcn
        >>> x = tinyfcn.tensor([3.0, 4.0], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> clip_gradients([x], 5.0), x.grad
        (10.0, Tensor([3., 4.], dtype=float32))
    """
    xp = backend.active().xp
    given = [(p, p.grad.data) for p in parameters if p.grad is not None]
    flat = (g.ravel("K") for _, g in given)
    norm = math.sqrt(sum(xp.einsum("i,i->", g, g, dtype=xp.float64) for g in flat))
    if norm > most:
        for p, g in given:  # not in place: two parameters may have one gradient
            p.grad = Tensor(g * g.dtype.type(most / norm))
    return norm


class Average:
    """A second model, whose weights follow those of one that learns, and jump about less.

    After each step mean ← d · mean + (1 − d) · weights, with d = min(decay, (1 + steps) / (10 +
    steps)), so that the random weights of the beginning are soon forgotten. Running means of batch
    norm are averaged alike; integers are copied.

    Source: Polyak, Juditsky, "Acceleration of stochastic approximation by averaging", 1992; the
    smaller d at the beginning is TensorFlow's ExponentialMovingAverage.

    Args:
        model: the one that learns; its weights are the first mean.
        decay: about 1 / (1 − decay) steps are remembered.

    Attributes:
        model: the one with the means.

    Example:
        >>> from tinyfcn import nn
        >>> learning = nn.Conv2d(1, 1, 1, bias=False)
        >>> learning.weight.data[...] = 0.0
        >>> average = Average(learning, 0.5)
        >>> learning.weight.data[...] = 1.0
        >>> for step in range(1, 10):
        ...     average.update(learning, step)
        >>> average.model.weight.data.item() > 0.99
        True
    """

    def __init__(self, model: Module, decay: float) -> None:
        self.model, self.decay = copy.deepcopy(model), decay

    def update(self, model: Module, steps: int) -> None:
        """Take the weights after so many steps in."""
        keep = min(self.decay, (1 + steps) / (10 + steps))
        means, weights = ([*m.parameters(), *m.buffers()] for m in (self.model, model))
        for mean, now in zip(means, weights, strict=True):
            if mean.dtype.kind == "f":
                mean.data += (1 - keep) * (now.data - mean.data)
            else:
                mean.data[...] = now.data
