"""The parameter groups of the FCN papers."""

from __future__ import annotations

from typing import Any

from tinyfcn.nn import Module

__all__ = ["parameter_groups"]


def parameter_groups(
    model: Module, lr: float, weight_decay: float = 0.0, bias_lr_factor: float = 2.0
) -> list[dict[str, Any]]:
    """Sort a model's parameters into groups: biases learn faster, vectors do not decay.

    * weights of layers: ``lr``, ``weight_decay``;
    * biases of layers: ``bias_lr_factor · lr``, no decay;
    * other vectors, which are weights and biases of normalizations: ``lr``, no decay: decay would
      pull their scale to 0, not to 1.

    Frozen parameters (``requires_grad`` False, such as fixed bilinear weights) are left out, and so
    are empty groups.

    Args:
        model: the model.
        lr: learning rate of the weights.
        weight_decay: L2 penalty of the weights.
        bias_lr_factor: by how much faster the biases learn; the papers double it.

    Returns:
        Groups for an optimizer.

    Source: Long et al., "Fully convolutional networks for semantic segmentation", CVPR 2015,
    section 4.3.

    Example:
        >>> from tinyfcn import nn
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
        >>> [(len(g["params"]), g["lr"], g["weight_decay"])
        ...  for g in parameter_groups(model, lr=0.1, weight_decay=0.01)]
        [(1, 0.1, 0.01), (1, 0.2, 0.0), (2, 0.1, 0.0)]
    """
    named = dict(model.named_parameters())
    weights: dict[str, Any] = {"params": [], "lr": lr, "weight_decay": weight_decay}
    biases: dict[str, Any] = {"params": [], "lr": bias_lr_factor * lr, "weight_decay": 0.0}
    vectors: dict[str, Any] = {"params": [], "lr": lr, "weight_decay": 0.0}
    for name, parameter in named.items():
        # The bias of a layer stands beside a weight with several axes.
        sibling = named.get(name.removesuffix("bias") + "weight", parameter)
        group = weights if parameter.ndim > 1 else biases if sibling.ndim > 1 else vectors
        if parameter.requires_grad:
            group["params"].append(parameter)
    return [group for group in (weights, biases, vectors) if group["params"]]
