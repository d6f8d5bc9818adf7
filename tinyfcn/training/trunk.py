"""The trunk of a network, the part that it has of a classifier, and may learn otherwise.

Frozen, it stays as it is, and what a few images have to teach goes into the rest: its parameters
get no gradient, and it runs in evaluation mode, with the means and variances of batch norm that it
has (He et al., "Deep residual learning", CVPR 2016, appendix A).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

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
