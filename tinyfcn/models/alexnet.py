"""AlexNet, the network that began it, in the form that torchvision has.

Source: Krizhevsky: One weird trick for parallelizing convolutional neural networks (2014), without
groups and response normalization. Keys and shapes are torchvision's; 61,100,840 parameters.
``caffenet.py`` has the form of 2012, of which the published FCN-AlexNet is made.
"""

from __future__ import annotations

from tinyfcn import nn
from tinyfcn.models.backbones.alexnet import AlexNetBackbone
from tinyfcn.models.backbones.backbone import scaled
from tinyfcn.models.registry import register

__all__ = ["alexnet"]


@register("classification", source="Krizhevsky 2014")
def alexnet(num_classes: int = 1000, width: float = 1.0, dropout: float = 0.5) -> nn.Sequential:
    """AlexNet: 224 × 224 images (N, 3, 224, 224) → class scores (N, num_classes).

    Args:
        num_classes: number of scores.
        width: multiplies all other numbers of channels.
        dropout: probability before the two hidden fully connected layers.

    Returns:
        A chain of ``features``, ``avgpool``, ``flatten`` and ``classifier``. An average pooling to
        6 × 6, which does nothing at 224 × 224, makes other sizes of at least 63 fit; for a map of
        scores instead see :func:`tinyfcn.models.convolutionalize`.

    Raises:
        ValueError: naming the argument that does not fit.

    Example:
        >>> import numpy as np, tinyfcn
        >>> model = alexnet(num_classes=10, width=1 / 64).eval()
        >>> model(tinyfcn.tensor(np.zeros((1, 3, 224, 224), np.float32))).shape
        (1, 10)
    """
    backbone = AlexNetBackbone(width)
    hidden = scaled(4096, width)
    classifier = nn.Sequential(
        nn.Dropout(dropout),
        nn.Linear(backbone.channels[-1] * 6 * 6, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, num_classes),
    )
    return nn.Sequential(
        {
            "features": backbone,
            "avgpool": nn.AdaptiveAvgPool2d(6),
            "flatten": nn.Flatten(),
            "classifier": classifier,
        }
    )
