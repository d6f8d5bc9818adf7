"""ResNet-18, 34, 50 and 101, classifiers made of residual blocks.

Source: He, Zhang, Ren, Sun: Deep residual learning for image recognition (CVPR 2016). Keys and
shapes are torchvision's.

| network    | blocks                | parameters |
|------------|-----------------------|------------|
| ResNet-18  | 2 2 2 2, basic        | 11,689,512 |
| ResNet-34  | 3 4 6 3, basic        | 21,797,672 |
| ResNet-50  | 3 4 6 3, bottleneck   | 25,557,032 |
| ResNet-101 | 3 4 23 3, bottleneck  | 44,549,160 |
"""

from __future__ import annotations

from functools import partial

from tinyfcn import nn
from tinyfcn.models.backbones.resnet import ResNetBackbone
from tinyfcn.models.convolutionalize import GlobalAvgPool2d
from tinyfcn.models.registry import member, register

__all__ = ["resnet18", "resnet34", "resnet50", "resnet101"]


def _resnet(depth: int, num_classes: int = 1000, width: float = 1.0) -> nn.Sequential:
    """ResNet: images (N, 3, H, W), natively 224 × 224 → class scores (N, num_classes).

    Args:
        num_classes: number of scores.
        width: multiplies all other numbers of channels.

    Returns:
        A chain of ``conv1``, ``bn1``, ``relu``, ``maxpool``, ``layer1`` … ``layer4``, ``avgpool``,
        ``flatten`` and ``fc``. The average over the whole map makes every size fit; for a map of
        scores instead see :func:`tinyfcn.models.convolutionalize`.

    Raises:
        ValueError: naming the argument that does not fit.

    Example:
        >>> import numpy as np, tinyfcn
        >>> model = resnet18(num_classes=10, width=1 / 16).eval()
        >>> model(tinyfcn.tensor(np.zeros((1, 3, 64, 48), np.float32))).shape
        (1, 10)
    """
    backbone = ResNetBackbone(depth, width)
    layers: dict[str, nn.Module] = dict(backbone.named_children())
    layers |= {"avgpool": GlobalAvgPool2d(7), "flatten": nn.Flatten()}
    return nn.Sequential({**layers, "fc": nn.Linear(backbone.channels[-1], num_classes)})


_network = partial(register, "classification", "He et al. 2016")
resnet18 = _network(name="resnet18")(member(_resnet, 18))
resnet34 = _network(name="resnet34")(member(_resnet, 34))
resnet50 = _network(name="resnet50")(member(_resnet, 50))
resnet101 = _network(name="resnet101")(member(_resnet, 101))
