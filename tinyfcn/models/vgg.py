"""VGG11, 13, 16 and 19: classifiers of 3 × 3 convolutions and three fully connected layers.

VGG16 is what the published FCNs are made of. Source: Simonyan, Zisserman: Very deep convolutional
networks for large-scale image recognition (2015), configurations A, B, D and E. Keys and shapes are
torchvision's.

| network | parameters  | with batch normalization |
|---------|-------------|--------------------------|
| VGG11   | 132,863,336 | 132,868,840              |
| VGG13   | 133,047,848 | 133,053,736              |
| VGG16   | 138,357,544 | 138,365,992              |
| VGG19   | 143,667,240 | 143,678,248              |
"""

from __future__ import annotations

from functools import partial

from tinyfcn import nn
from tinyfcn.models.backbones.backbone import with_classifier
from tinyfcn.models.backbones.vgg import VGGBackbone
from tinyfcn.models.registry import member, register

__all__ = ["vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn"]


def _vgg(
    depth: int,
    num_classes: int = 1000,
    width: float = 1.0,
    batch_norm: bool = False,
    dropout: float = 0.5,
) -> nn.Sequential:
    """VGG: 224 × 224 images (N, 3, 224, 224) → class scores (N, num_classes).

    Args:
        num_classes: number of scores.
        width: multiplies all other numbers of channels.
        batch_norm: whether batch normalization follows every convolution.
        dropout: probability in the two hidden fully connected layers.

    Returns:
        A chain of ``features``, ``avgpool``, ``flatten`` and ``classifier``. An average pooling to
        7 × 7, which does nothing at 224 × 224, makes other sizes fit; for a map of scores instead
        see :func:`tinyfcn.models.convolutionalize`.

    Raises:
        ValueError: naming the argument that does not fit.

    Example:
        >>> model = vgg16(num_classes=10, width=1 / 64)
        >>> list(model.state_dict())[-2:]
        ['classifier.6.weight', 'classifier.6.bias']
    """
    backbone = VGGBackbone(width, batch_norm, depth=depth)
    return with_classifier(backbone, 7, num_classes, width, dropout)


def _vgg_bn(
    depth: int, num_classes: int = 1000, width: float = 1.0, dropout: float = 0.5
) -> nn.Sequential:
    """VGG with batch normalization; arguments and result are those of :func:`vgg16`."""
    return _vgg(depth, num_classes, width, True, dropout)


_network = partial(register, "classification", "Simonyan, Zisserman 2015")
vgg11 = _network(name="vgg11")(member(_vgg, 11))
vgg11_bn = _network(name="vgg11_bn")(member(_vgg_bn, 11))
vgg13 = _network(name="vgg13")(member(_vgg, 13))
vgg13_bn = _network(name="vgg13_bn")(member(_vgg_bn, 13))
vgg16 = _network(name="vgg16")(member(_vgg, 16))
vgg16_bn = _network(name="vgg16_bn")(member(_vgg_bn, 16))
vgg19 = _network(name="vgg19")(member(_vgg, 19))
vgg19_bn = _network(name="vgg19_bn")(member(_vgg_bn, 19))
