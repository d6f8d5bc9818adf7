"""The convolutional parts of AlexNet and CaffeNet: five convolutions, three poolings, stride 32.

|       | AlexNet (torchvision's)      | CaffeNet                                    |
|-------|------------------------------|---------------------------------------------|
| conv1 | 64, 11 × 11, stride 4        | 96, 11 × 11, stride 4                       |
| pool1 | 3 × 3, stride 2              | 3 × 3, stride 2, then response normalization|
| conv2 | 192, 5 × 5                   | 256, 5 × 5, in two groups                   |
| pool2 | 3 × 3, stride 2              | 3 × 3, stride 2, then response normalization|
| conv3 | 384, 3 × 3                   | 384, 3 × 3                                  |
| conv4 | 256, 3 × 3                   | 384, 3 × 3, in two groups                   |
| conv5 | 256, 3 × 3                   | 256, 3 × 3, in two groups                   |
| pool5 | 3 × 3, stride 2              | 3 × 3, stride 2                             |

Source: Krizhevsky, Sutskever, Hinton: ImageNet classification with deep convolutional neural
networks (NIPS 2012), which normalizes before it pools; torchvision's form is that of Krizhevsky:
One weird trick (2014); CaffeNet is BVLC's.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from tinyfcn import nn
from tinyfcn.models.backbones.backbone import Backbone, scaled


class AlexNetBackbone(Backbone):
    """AlexNet up to its last pooling; the layers have torchvision's numbers ("0.weight" …).

    Args:
        width: multiplies the numbers of channels.
        batch_norm: whether batch normalization follows every convolution.
        ceil_mode: how pooling rounds: up as in Caffe, or down as in torchvision.
        first_padding: padding of conv1.
        pool_padding: padding of the poolings.

    Attributes:
        ends: conv1, pool1, pool2 and pool5, at strides 4, 8, 16, 32.
        channels: number of channels after each of them.

    Example:
        >>> AlexNetBackbone(width=1 / 16).channels
        (4, 4, 12, 16)
    """

    def __init__(
        self,
        width: float = 1.0,
        batch_norm: bool = False,
        ceil_mode: bool = False,
        first_padding: int = 2,
        pool_padding: int = 0,
    ) -> None:
        channels = [scaled(n, width) for n in (64, 192, 384, 256, 256)]
        options = batch_norm, ceil_mode, first_padding, pool_padding
        stages = _stages(channels, (1, 1, 1, 1), False, *options)
        super().__init__(stage.values() for stage in stages)


class CaffeNetBackbone(Backbone):
    """CaffeNet up to its last pooling; the layers have their names in Caffe ("conv1.weight" …).

    Args:
        width, batch_norm, pool_padding: as for :class:`AlexNetBackbone`; with batch normalization a
            layer ``bn1`` … ``bn5`` follows each convolution.
        ceil_mode: how pooling rounds; up in Caffe.
        first_padding: padding of conv1; 100 in the published FCN.

    Attributes:
        ends: conv1, pool1 and pool2 with their normalization, pool5, at strides 4, 8, 16, 32.
        channels: number of channels after each of them.
    """

    def __init__(
        self,
        width: float = 1.0,
        batch_norm: bool = False,
        ceil_mode: bool = True,
        first_padding: int = 0,
        pool_padding: int = 0,
    ) -> None:
        # Two groups need even numbers of channels.
        channels = [2 * scaled(n // 2, width) for n in (96, 256, 384, 384, 256)]
        options = batch_norm, ceil_mode, first_padding, pool_padding
        super().__init__(_stages(channels, (2, 1, 2, 2), True, *options))


def _stages(
    channels: Sequence[int], groups: Sequence[int], response_norm: bool,
    batch_norm: bool, ceil_mode: bool, first_padding: int, pool_padding: int,
) -> list[dict[str, nn.Module]]:  # fmt: skip
    """The layers of every stage under their names in Caffe; conv1 is not in groups, and all other
    convolutions keep the size of their maps."""
    others = zip(pairwise(channels), (5, 3, 3, 3), groups, strict=True)
    convolutions = [nn.Conv2d(3, channels[0], 11, 4, first_padding)]
    convolutions += [nn.Conv2d(a, b, k, 1, k // 2, groups=g) for (a, b), k, g in others]

    def unit(i: int) -> dict[str, nn.Module]:
        convolution = convolutions[i - 1]
        norm = {f"bn{i}": nn.BatchNorm2d(convolution.out_channels)} if batch_norm else {}
        return {f"conv{i}": convolution, **norm, f"relu{i}": nn.ReLU()}

    def pooling(i: int) -> dict[str, nn.Module]:
        norm = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
        pool = nn.MaxPool2d(3, 2, pool_padding, ceil_mode=ceil_mode)
        return {f"pool{i}": pool, **({f"norm{i}": norm} if response_norm and i < 5 else {})}

    last = unit(3) | unit(4) | unit(5) | pooling(5)
    return [unit(1), pooling(1), unit(2) | pooling(2), last]
