"""Losses of all heads, weighted.

Two kinds of models ask for more than the loss of their scores and the labels. Those with auxiliary
heads have ``auxiliary``, the weights of the losses of these heads by the names in ``outputs()``.
Those without padding have ``margin``, the pixels of the image on each side that get no score.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinyfcn.models.network import as_network
from tinyfcn.nn import Module
from tinyfcn.tensor import Tensor

Loss = Callable[[Tensor, Any], Tensor]


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
    network = as_network(model)
    if margin := network.margin:
        labels = labels[:, margin:-margin, margin:-margin]
    if not network.auxiliary:
        return loss(model(images), labels)
    scores = network.outputs(images)
    total = loss(scores["out"], labels)
    for name, weight in network.auxiliary.items():
        total = total + weight * loss(scores[name], labels)
    return total
