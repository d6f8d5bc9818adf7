"""The convolutional part of VGG: 3 × 3 convolutions in five stages, each ended by a pooling.

Source: Simonyan, Zisserman: Very deep convolutional networks (2015), configurations A, B, D and E.
The layers stand in a row under torchvision's numbers ("0.weight" is conv1_1, "28.weight" conv5_3 of
VGG16 without batch normalization), so weights go over by their names.
"""

from __future__ import annotations

from tinyfcn import nn
from tinyfcn.models.backbones.trunk import Trunk, scaled

CHANNELS = (64, 128, 256, 512, 512)
# By depth, the fully connected layers counted: the number of convolutions of the five stages.
CONVOLUTIONS = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


class VGGTrunk(Trunk):
    """VGG up to its last pooling.

    Args:
        width: multiplies the numbers of channels.
        batch_norm: whether batch normalization follows every convolution.
        ceil_mode: how pooling rounds: up as in Caffe, or down as in torchvision.
        first_padding: padding of conv1_1; the published FCNs have 100 there, see
            ``tinyfcn.models.fcn``.
        depth: 11, 13, 16 or 19.

    Attributes:
        pools: index of the pooling that ends each stage, at strides 2, 4, 8, 16, 32.
        channels: number of channels after each of them.

    Example:
        >>> trunk = VGGTrunk(width=1 / 16)
        >>> trunk.pools, trunk.channels
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
        if depth not in CONVOLUTIONS:
            raise ValueError(f"VGGTrunk: depth must be one of {list(CONVOLUTIONS)}, got {depth}")
        layers: list[nn.Module] = []
        pools: list[int] = []
        channels = tuple(scaled(wide, width) for wide in CHANNELS)
        before = 3
        for after, convolutions in zip(channels, CONVOLUTIONS[depth], strict=True):
            for _ in range(convolutions):
                padding = 1 if layers else first_padding
                layers.append(nn.Conv2d(before, after, 3, padding=padding))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(after))
                layers.append(nn.ReLU())
                before = after
            pools.append(len(layers))
            layers.append(nn.MaxPool2d(2, ceil_mode=ceil_mode))
        self.pools = tuple(pools)
        super().__init__({str(i): layer for i, layer in enumerate(layers)}, self.pools, channels)


VGG16Trunk = VGGTrunk  # the depth that everything else is built on
