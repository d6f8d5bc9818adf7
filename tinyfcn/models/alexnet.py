"""AlexNet, the network that began it, as torchvision has it and as Caffe has it.

``alexnet`` is the form of Krizhevsky: One weird trick for parallelizing convolutional neural
networks (2014), without groups and response normalization. Keys and shapes are torchvision's;
61,100,840 parameters.

``caffenet`` is that of Krizhevsky, Sutskever, Hinton: ImageNet classification with deep
convolutional neural networks (NIPS 2012), as BVLC trained it: it pools before it normalizes. The
published FCN-AlexNet is made of it. The layers have their names in Caffe; 60,965,224 parameters.
"""

from __future__ import annotations

from tinyfcn import nn
from tinyfcn.models.backbones.alexnet import AlexNetBackbone, CaffeNetBackbone
from tinyfcn.models.backbones.backbone import scaled, with_classifier
from tinyfcn.models.registry import register

__all__ = ["alexnet", "caffenet"]


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
    return with_classifier(backbone, 6, num_classes, width, dropout, dropout_first=True)


@register("classification", source="Krizhevsky et al. 2012", side=227)
def caffenet(num_classes: int = 1000, width: float = 1.0, dropout: float = 0.5) -> nn.Sequential:
    """CaffeNet: 227 × 227 images (N, 3, 227, 227) → class scores (N, num_classes).

    Args:
        num_classes: number of scores.
        width: multiplies all other numbers of channels.
        dropout: probability after the two hidden fully connected layers.

    Returns:
        A chain of ``conv1`` … ``pool5``, ``flatten``, ``fc6``, ``fc7``, ``fc8`` and what is in
        between. Other sizes than 227 (or 199 … 230, whose maps are as large) need
        :func:`tinyfcn.models.convolutionalize`.

    Raises:
        ValueError: naming the argument that does not fit.

    Example:
        >>> import numpy as np, tinyfcn
        >>> model = caffenet(num_classes=10, width=1 / 64).eval()
        >>> model(tinyfcn.tensor(np.zeros((1, 3, 227, 227), np.float32))).shape
        (1, 10)
        >>> list(model.state_dict())[-2:]
        ['fc8.weight', 'fc8.bias']
    """
    backbone = CaffeNetBackbone(width)
    hidden = scaled(4096, width)
    layers: dict[str, nn.Module] = {**dict(backbone.named_children()), "flatten": nn.Flatten()}
    for i, before in ((6, backbone.channels[-1] * 6 * 6), (7, hidden)):
        layers |= {f"fc{i}": nn.Linear(before, hidden), f"relu{i}": nn.ReLU()}
        layers[f"drop{i}"] = nn.Dropout(dropout)
    return nn.Sequential({**layers, "fc8": nn.Linear(hidden, num_classes)})
