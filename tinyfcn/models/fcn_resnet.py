"""torchvision's FCN on ResNet: a dilated backbone at stride 8, a small head, bilinear upsampling.

This is not the network of Long et al.: it has neither skips nor transposed convolutions
(``fcn8s(backbone="resnet50")`` has both). All there is to it is ``dilated_resnet.py``.

Source: torchvision.models.segmentation; keys and shapes are its own. 35,322,218 parameters with
ResNet-50, 54,314,346 with ResNet-101.
"""

from __future__ import annotations

from functools import partial

from tinyfcn.models.dilated_resnet import TRAINING, DilatedResNet
from tinyfcn.models.registry import member, register

__all__ = ["fcn_resnet50", "fcn_resnet101"]


def _fcn_resnet(
    depth: int, num_classes: int = 21, width: float = 1.0, aux_loss: bool = True
) -> DilatedResNet:
    """torchvision's FCN on ResNet: images (N, 3, H, W) → scores (N, num_classes, H, W).

    Args:
        num_classes: number of classes, background included.
        width: multiplies all other numbers of channels.
        aux_loss: whether to have the second head, as the published weights do.

    Raises:
        ValueError: naming the argument that does not fit.

    Example:
        >>> import numpy as np, tinyfcn
        >>> model = fcn_resnet50(num_classes=3, width=1 / 32).eval()
        >>> model(tinyfcn.tensor(np.zeros((1, 3, 33, 47), np.float32))).shape
        (1, 3, 33, 47)
    """
    return DilatedResNet(depth, num_classes, width, aux_loss)


_network = partial(register, "segmentation", "torchvision 2019", [TRAINING])
fcn_resnet50 = _network(name="fcn_resnet50")(member(_fcn_resnet, 50))
fcn_resnet101 = _network(name="fcn_resnet101")(member(_fcn_resnet, 101))
