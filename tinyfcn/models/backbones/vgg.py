"""The convolutional part of VGG16: thirteen 3 × 3 convolutions and five poolings.

Source: Simonyan, Zisserman: Very deep convolutional networks (2015), configuration D. The layers
stand in a row under torchvision's numbers ("0.weight" is conv1_1, "28.weight" conv5_3 without batch
normalization), so weights go over by their names.
"""

from __future__ import annotations

from typing import NamedTuple

from tinyfcn import functional as F
from tinyfcn import nn
from tinyfcn.functional.sizes import Pair
from tinyfcn.tensor import Tensor

# (channels, convolutions) of the five stages; each ends with a 2 × 2 pooling of stride 2.
STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


class Switches(NamedTuple):
    """What an unpooling has to know about the pooling that it undoes."""

    indices: Tensor  # where each maximum was, (N, C, OH, OW)
    size: Pair  # of the map before it


class VGG16Trunk(nn.Sequential):
    """VGG16 up to its last pooling.

    Args:
        width: multiplies the numbers of channels.
        batch_norm: whether batch normalization follows every convolution.
        ceil_mode: how pooling rounds: up as in Caffe, or down as in torchvision.
        first_padding: padding of conv1_1; the published FCNs have 100 there, see
            ``tinyfcn.models.fcn``.

    Attributes:
        pools: index of the pooling that ends each stage, at strides 2, 4, 8, 16, 32.
        channels: number of channels after each of them.

    Example:
        >>> trunk = VGG16Trunk(width=1 / 16)
        >>> trunk.pools, trunk.channels
        ((4, 9, 16, 23, 30), (4, 8, 16, 32, 32))
    """

    def __init__(
        self,
        width: float = 1.0,
        batch_norm: bool = False,
        ceil_mode: bool = False,
        first_padding: int = 1,
    ) -> None:
        layers: list[nn.Module] = []
        pools: list[int] = []
        self.channels = tuple(scaled(channels, width) for channels, _ in STAGES)
        before = 3
        for after, (_, convolutions) in zip(self.channels, STAGES, strict=True):
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
        super().__init__(*layers)

    def features(self, x: Tensor, recompute: bool = False) -> list[Tensor]:
        """The outputs of the five poolings, at strides 2, 4, 8, 16, 32: pool1 … pool5.

        With ``recompute`` the stages keep nothing between their poolings for the backward pass, see
        :func:`tinyfcn.nn.recompute`.
        """
        outputs = []
        start = 0
        for pool in self.pools:
            stage: nn.Sequential = self[start : pool + 1]
            x = nn.recompute(stage, x) if recompute else stage(x)
            outputs.append(x)
            start = pool + 1
        return outputs

    def pooled_with_switches(self, x: Tensor) -> tuple[Tensor, list[Switches]]:
        """pool5, and for each pooling where its maxima were: for networks that unpool."""
        switches = []
        start = 0
        for pool in self.pools:
            x = self[start:pool](x)
            size = (x.shape[2], x.shape[3])
            layer = self[pool]
            x, indices = F.max_pool2d(
                x, layer.kernel_size, ceil_mode=layer.ceil_mode, return_indices=True
            )
            switches.append(Switches(indices, size))
            start = pool + 1
        return x, switches

    def up_to(self, pool: int) -> nn.Sequential:
        """The layers up to pool ``pool``, 1 … 5, for questions about geometry."""
        layers: nn.Sequential = self[: self.pools[pool - 1] + 1]
        return layers


def scaled(channels: int, width: float) -> int:
    """``channels`` times ``width``, rounded.

    Raises:
        ValueError: if nothing is left.

    Example:
        >>> scaled(64, 0.25)
        16
    """
    n = round(channels * width)
    if n < 1:
        raise ValueError(
            f"width {width} leaves {n} of {channels} channels; it must be at least {1 / channels}"
        )
    return n
