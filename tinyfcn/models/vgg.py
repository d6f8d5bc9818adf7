"""VGG16, the classifier that the published FCNs are made of.

Source: Simonyan, Zisserman: Very deep convolutional networks for large-scale image recognition
(2015), configuration D. Keys and shapes are torchvision's; 138,357,544 parameters.
"""

from __future__ import annotations

from tinyfcn import nn
from tinyfcn.models.backbones.trunk import scaled
from tinyfcn.models.backbones.vgg import VGG16Trunk


def vgg16(
    num_classes: int = 1000, width: float = 1.0, batch_norm: bool = False, dropout: float = 0.5
) -> nn.Sequential:
    """VGG16: 224 × 224 images (N, 3, 224, 224) → class scores (N, num_classes).

    Args:
        num_classes: number of scores.
        width: multiplies all other numbers of channels.
        batch_norm: whether batch normalization follows every convolution.
        dropout: probability in the two hidden fully connected layers.

    Returns:
        A chain of ``features``, ``avgpool``, ``flatten`` and ``classifier``. An average pooling to
        7 × 7, which does nothing at 224 × 224, makes other sizes fit; for a map of scores instead
        see :func:`tinyfcn.models.convolutionalize`.

    Example:
        >>> model = vgg16(num_classes=10, width=1 / 64)
        >>> list(model.state_dict())[-2:]
        ['classifier.6.weight', 'classifier.6.bias']
    """
    if num_classes < 1:
        raise ValueError(f"vgg16: num_classes must be at least 1, got {num_classes}")
    trunk = VGG16Trunk(width, batch_norm)
    hidden = scaled(4096, width)
    classifier = nn.Sequential(
        nn.Linear(trunk.channels[-1] * 7 * 7, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, num_classes),
    )
    return nn.Sequential(
        {
            "features": trunk,
            "avgpool": nn.AdaptiveAvgPool2d(7),
            "flatten": nn.Flatten(),
            "classifier": classifier,
        }
    )


def vgg16_bn(num_classes: int = 1000, width: float = 1.0, dropout: float = 0.5) -> nn.Sequential:
    """:func:`vgg16` with batch normalization."""
    return vgg16(num_classes, width, batch_norm=True, dropout=dropout)
