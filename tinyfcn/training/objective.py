"""Losses by name, and of all heads, weighted.

Two kinds of models ask for more than the loss of their scores and the labels. Those with auxiliary
heads have ``auxiliary``, the weights of the losses of these heads by the names in ``outputs()``.
Those without padding have ``margin``, the pixels of the image on each side that get no score.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tinyfcn.functional as F
from tinyfcn.data import VOID
from tinyfcn.models.network import as_network
from tinyfcn.nn import Module
from tinyfcn.tensor import Tensor

Loss = Callable[[Tensor, Any], Tensor]

LOSSES: dict[str, Callable[..., Tensor]] = {
    "ce": F.cross_entropy, "dice": F.dice_loss, "focal": F.focal_loss,
}  # fmt: skip


def named_loss(text: str) -> Callable[..., Tensor]:
    """A loss, or a sum of several with factors, as a function with :func:`F.cross_entropy`'s
    arguments.

    Raises:
        ValueError: for a name that is none of ``LOSSES``, or a factor that is not above 0.

    Source: cross-entropy and Dice together are what nnU-Net learns from (Isensee et al., Nature
    Methods 2021).

    Example:
        >>> import tinyfcn
        >>> logits, labels = tinyfcn.tensor([[[0.0, 0.0], [0.0, 0.0]]]), tinyfcn.tensor([[0, 1]])
        >>> named_loss("ce+0.5*dice")(logits, labels)  # log 2 + 0.25
        Tensor(0.9431472, dtype=float32)
    """
    terms = []
    for term in text.split("+"):
        factor, star, name = (word.strip() for word in term.rpartition("*"))
        if name not in LOSSES or (star and not 0 < float(factor) <= 1e6):
            raise ValueError(f"expected {', '.join(LOSSES)} or a sum of them, got {text!r}")
        terms.append((float(factor) if star else 1.0, LOSSES[name]))

    def loss(*arguments: Any) -> Tensor:
        first, *others = (
            fn(*arguments) if factor == 1 else factor * fn(*arguments) for factor, fn in terms
        )
        return sum(others, first)

    return loss


def total_loss(model: Module, images: Tensor, labels: Any, loss: Loss) -> Tensor:
    """loss(out) + Σ weight · loss(auxiliary), each against the labels of the scored pixels.

    Args:
        model: gives scores (N, C, H − 2 · margin, W − 2 · margin), or, with auxiliary heads, a dict
            of such scores by ``outputs()``, of which "out" is the answer.
        images: (N, channels, H, W).
        labels: (N, H, W).
        loss: called with scores and labels, gives a scalar Tensor.

    Source: torchvision's training of segmentation networks (weight 0.5); Zhao et al., PSPNet
    (CVPR 2017), section 3.3 (0.4).

    Example:
        >>> import numpy as np, tinyfcn, tinyfcn.functional as F
        >>> model = tinyfcn.models.pspnet(num_classes=3, width=1 / 32)
        >>> model.auxiliary
        {'aux': 0.4}
        >>> images, labels = np.zeros((2, 3, 16, 16), np.float32), np.zeros((2, 16, 16), np.int64)
        >>> total_loss(model, tinyfcn.tensor(images), labels, F.cross_entropy).shape
        ()
    """
    network, labels = as_network(model), _scored(model, labels)
    if not network.auxiliary:
        return loss(model(images), labels)
    scores = network.outputs(images)
    total = loss(scores["out"], labels)
    for name, weight in network.auxiliary.items():
        total = total + weight * loss(scores[name], labels)
    return total


def loss_weight(model: Module, labels: Any, class_weights: Any = None) -> float:
    """What a mean loss is divided by: the pixels that count, each with the weight of its class.

    It is the same for every loss of ``LOSSES``, so their sum too is put together from parts of a
    batch with it.

    Args:
        model, labels: as for :func:`total_loss`.
        class_weights: (C,); None for 1 each.

    Example:
        >>> import numpy as np
        >>> from tinyfcn import nn
        >>> model, labels = nn.Identity(), np.array([[[0, 1, 255]]], np.uint8)
        >>> loss_weight(model, labels), loss_weight(model, labels, np.array([1, 0.5]))
        (2.0, 1.5)
    """
    labels = _scored(model, labels)
    counted = labels[labels != VOID]
    return float(counted.size if class_weights is None else class_weights[counted].sum(dtype=float))


def _scored(model: Module, labels: Any) -> Any:
    margin = as_network(model).margin
    return labels[:, margin:-margin, margin:-margin] if margin else labels
