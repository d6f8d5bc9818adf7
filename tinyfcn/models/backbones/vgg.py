"""The convolutional part of VGG: 3 × 3 convolutions in five stages, each ended by a pooling.

Source: Simonyan, Zisserman: Very deep convolutional networks (2015), configurations A, B, D and E.
The layers stand in a row under torchvision's numbers ("0.weight" is conv1_1, "28.weight" conv5_3 of
VGG16 without batch normalization), so weights go over by their names.
"""

from __future__ import annotations

from collections.abc import Iterable

from tinyfcn import nn
from tinyfcn.models.backbones.backbone import Backbone, check_choice, scaled, with_relu

CHANNELS = (64, 128, 256, 512, 512)
# By depth, the fully connected layers counted: the number of convolutions of the five stages.
CONVOLUTIONS = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


def vgg_layers(
    depth: int,
    width: float,
    batch_norm: bool,
    pooling: Iterable[nn.Module],
    dilations: Iterable[int] = (1,) * 5,
    paddings: Iterable[int] = (1,) * 5,
    first_padding: int = 1,
) -> list[nn.Module]:
    """The layers of VGG.

    Args:
        depth, width, batch_norm, first_padding: as for :class:`VGGBackbone`.
        pooling: what stands after each of the five stages.
        dilations, paddings: of the convolutions of each stage.
    """
    layers: list[nn.Module] = []
    before = 3
    stages = zip(CHANNELS, CONVOLUTIONS[depth], pooling, dilations, paddings, strict=True)
    for published, convolutions, pool, dilation, padding in stages:
        after = scaled(published, width)
        for _ in range(convolutions):
            rows = padding if layers else first_padding
            convolution = nn.Conv2d(before, after, 3, padding=rows, dilation=dilation)
            layers += with_relu(convolution, batch_norm)
            before = after
        layers.append(pool)
    return layers


class VGGBackbone(Backbone):
    """VGG up to its last pooling.

    Args:
        width: multiplies the numbers of channels.
        batch_norm: whether batch normalization follows every convolution.
        ceil_mode: how pooling rounds: up as in Caffe, or down as in torchvision.
        first_padding: padding of conv1_1; the published FCNs have 100 there, see
            ``tinyfcn.models.fcn``.
        depth: 11, 13, 16 or 19.

    Attributes:
        ends: the pooling that ends each stage, at strides 2, 4, 8, 16, 32.
        channels: number of channels after each of them.

    Example:
        >>> backbone = VGGBackbone(width=1 / 16)
        >>> backbone.ends, backbone.channels
        ((4, 9, 16, 23, 30), (4, 8, 16, 32, 32))
    """

    def __init__(
        self,
        width: float = 1.0,
        batch_norm: bool = False,
        ceil_mode: bool = False,
        first_padding: int = 1,
        depth: int = 16,
    ) -> None:
        check_choice("VGGBackbone", "depth", depth, CONVOLUTIONS)
        pools = [nn.MaxPool2d(2, ceil_mode=ceil_mode) for _ in CHANNELS]
        layers = vgg_layers(depth, width, batch_norm, pools, first_padding=first_padding)
        ends = [i for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
        super().__init__(layers, ends, [scaled(channels, width) for channels in CHANNELS])
