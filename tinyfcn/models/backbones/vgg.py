"""The convolutional part of VGG: 3 × 3 convolutions in five stages, each ended by a pooling.

Source: Simonyan, Zisserman: Very deep convolutional networks (2015), configurations A, B, D and E.
The layers stand in a row under torchvision's numbers ("0.weight" is conv1_1, "28.weight" conv5_3 of
VGG16 without batch normalization), so weights go over by their names.

In the dilated form the last stages keep their resolution. Without the stride of pool4 the maps stay
at 1/8 of the image's size. Kernels trained at 1/16 still fit if their taps lie twice as far apart,
and after pool5 without its stride four times: the dilation of conv5 and of whatever comes after it.
Source: Chen et al.: Semantic image segmentation with deep convolutional nets and fully connected
CRFs (ICLR 2015), section 3.1; Yu, Koltun: Multi-scale context aggregation by dilated convolutions
(ICLR 2016), section 4.
"""

from __future__ import annotations

import itertools
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
DILATIONS = (1, 1, 1, 1, 2)  # of the five stages in the dilated form


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
        pooling = [nn.MaxPool2d(2, ceil_mode=ceil_mode) for _ in CHANNELS]
        super().__init__(_stages(depth, width, batch_norm, pooling, first_padding=first_padding))


def dilated_vgg16(
    width: float, batch_norm: bool, pooling: Iterable[nn.Module], padded: bool = True
) -> nn.Sequential:
    """VGG16's convolutions at 1/8 of the image's size: (N, 3, H, W) → (N, 512 · width, H/8, W/8).

    Args:
        width: multiplies the numbers of channels.
        batch_norm: whether batch normalization follows every convolution.
        pooling: what stands after each of the five stages; the strides of the first three must be
            2, of the last two 1.
        padded: whether convolutions keep the size of their maps.

    Returns:
        A chain whose convolutions have the numbers that they have in :func:`tinyfcn.models.vgg16`,
        so weights go over by their names.

    Example:
        >>> pooling = [*[nn.MaxPool2d(2)] * 3, nn.Identity(), nn.Identity()]
        >>> backbone = dilated_vgg16(1 / 64, batch_norm=False, pooling=pooling)
        >>> backbone[28]
        Conv2d(8, 8, kernel_size=(3, 3), padding=(2, 2), dilation=(2, 2))
    """
    paddings = DILATIONS if padded else (0,) * 5
    stages = _stages(16, width, batch_norm, pooling, DILATIONS, paddings, paddings[0])
    return nn.Sequential(*itertools.chain.from_iterable(stages))


def _stages(
    depth: int,
    width: float,
    batch_norm: bool,
    pooling: Iterable[nn.Module],
    dilations: Iterable[int] = (1,) * 5,
    paddings: Iterable[int] = (1,) * 5,
    first_padding: int = 1,
) -> list[list[nn.Module]]:
    """The layers of the five stages; for each of these there is one of ``pooling`` at its end, and
    one of ``dilations`` and ``paddings`` for its convolutions, but for the padding of the first."""
    stages: list[list[nn.Module]] = []
    before = 3
    settings = zip(CHANNELS, CONVOLUTIONS[depth], pooling, dilations, paddings, strict=True)
    for published, convolutions, pool, dilation, padding in settings:
        after = scaled(published, width)
        layers: list[nn.Module] = []
        for _ in range(convolutions):
            rows = padding if stages or layers else first_padding
            convolution = nn.Conv2d(before, after, 3, padding=rows, dilation=dilation)
            layers += with_relu(convolution, batch_norm)
            before = after
        stages.append([*layers, pool])
    return stages
