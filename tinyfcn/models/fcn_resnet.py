"""torchvision's FCN on ResNet: a dilated trunk at stride 8, a small head, bilinear enlargement.

    image → ResNet, output stride 8 → layer4 → head → enlarge 8 times → "out"
                                      layer3 → head → enlarge 8 times → "aux"

This is not the network of Long et al.: it has neither skips nor transposed convolutions
(``fcn8s(backbone="resnet50")`` has both). The second head, on layer3, is there to learn: its loss,
weighted by 0.5, brings a gradient to the middle of the trunk. It takes no part in the answer.

Source: torchvision.models.segmentation; keys and shapes are its own. 35,322,218 parameters with
ResNet-50, 54,314,346 with ResNet-101.
"""

from __future__ import annotations

from tinyfcn.models.backbones.resnet import ResNetTrunk
from tinyfcn.models.dilated_resnet import TRAINING, DilatedResNet, FCNHead
from tinyfcn.models.registry import register

__all__ = ["fcn_resnet50", "fcn_resnet101"]

_network = register("segmentation", source="torchvision 2019", presets=[TRAINING])


@_network
def fcn_resnet50(num_classes: int = 21, width: float = 1.0, aux_loss: bool = True) -> DilatedResNet:
    """torchvision's FCN on ResNet-50: images (N, 3, H, W) → scores (N, num_classes, H, W).

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
    return _fcn_resnet(50, num_classes, width, aux_loss)


@_network
def fcn_resnet101(
    num_classes: int = 21, width: float = 1.0, aux_loss: bool = True
) -> DilatedResNet:
    """torchvision's FCN on ResNet-101; the arguments are those of :func:`fcn_resnet50`."""
    return _fcn_resnet(101, num_classes, width, aux_loss)


def _fcn_resnet(depth: int, num_classes: int, width: float, aux_loss: bool) -> DilatedResNet:
    trunk = ResNetTrunk(depth, width, output_stride=8)
    *_, middle, last = trunk.channels
    return DilatedResNet(
        trunk, FCNHead(last, num_classes), FCNHead(middle, num_classes) if aux_loss else None
    )
