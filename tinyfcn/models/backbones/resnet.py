"""The convolutional part of a residual network: a stem, then four stages of residual blocks.

A block adds what its convolutions compute to what it was given, y = relu(x + g(x)), so that the
gradient reaches every block undiminished. Where a block changes the number of channels or the size,
x goes through a 1 × 1 convolution ("downsample") first.

    basic        3 × 3 → 3 × 3                       ResNet-18, 34
    bottleneck   1 × 1 → 3 × 3 → 1 × 1 (4 × wider)   ResNet-50, 101

Source: He, Zhang, Ren, Sun: Deep residual learning for image recognition (CVPR 2016), table 1. As
in torchvision, from which the names are, the 3 × 3 convolution of a bottleneck has the stride.
"""

from __future__ import annotations

from tinyfcn import functional as F
from tinyfcn import nn
from tinyfcn.models.backbones.backbone import Backbone, check_choice, scaled
from tinyfcn.tensor import Tensor


class BasicBlock(nn.Module):
    """Two 3 × 3 convolutions beside the identity: (N, C, H, W) → (N, channels, H / s, W / s)."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int = 1, dilation: int = 1) -> None:
        self.out_channels = channels
        self.conv1 = _conv3x3(in_channels, channels, stride, dilation)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _conv3x3(channels, channels, 1, dilation)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = _downsample(in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """relu(x + g(x))."""
        y = self.bn1(self.conv1(x), relu=True)
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """Fewer channels, a 3 × 3 convolution, four times as many channels, beside the identity:
    (N, C, H, W) → (N, 4 · channels, H / s, W / s)."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int = 1, dilation: int = 1) -> None:
        self.out_channels = channels * self.expansion
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _conv3x3(channels, channels, stride, dilation)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, self.out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(self.out_channels)
        self.downsample = _downsample(in_channels, self.out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """relu(x + g(x))."""
        y = self.bn1(self.conv1(x), relu=True)
        y = self.bn2(self.conv2(y), relu=True)
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


# By depth: the block, and how many of them the four stages have.
STAGES: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
}


class ResNetBackbone(Backbone):
    """ResNet up to its last block.

    Args:
        depth: 18, 34, 50 or 101.
        width: multiplies the numbers of channels.
        output_stride: 32, or 16 or 8 to keep the map of the last stages that large: they do without
            stride then, and the convolutions behind it are dilated, so that their receptive fields
            stay what they were (bottlenecks only, as in torchvision).

    Attributes:
        ends: conv1 at stride 2, layer1 … layer4 at strides 4, 8, 16, 32.
        channels: 64 and then 64, 128, 256, 512 times the block's expansion, times ``width``.

    Example:
        >>> ResNetBackbone(18, width=1 / 16).channels
        (4, 4, 8, 16, 32)
    """

    def __init__(self, depth: int, width: float = 1.0, output_stride: int = 32) -> None:
        check_choice("ResNetBackbone", "depth", depth, STAGES)
        check_choice("ResNetBackbone", "output_stride", output_stride, (8, 16, 32))
        block, counts = STAGES[depth]
        if block is BasicBlock and output_stride != 32:
            raise ValueError(
                f"ResNetBackbone: output_stride {output_stride} needs depth 50 or 101, got {depth}"
            )
        stem = scaled(64, width)
        first = nn.Conv2d(3, stem, 7, stride=2, padding=3, bias=False)
        stages: list[dict[str, nn.Module]] = [
            {"conv1": first, "bn1": nn.BatchNorm2d(stem), "relu": nn.ReLU()},
            {"maxpool": nn.MaxPool2d(3, stride=2, padding=1)},
        ]
        before, stride, dilation = stem, 4, 1
        for number, count in enumerate(counts, start=1):
            step = 1 if number == 1 else 2
            first_dilation = dilation
            if stride * step > output_stride:
                dilation, step = dilation * step, 1
            stride *= step
            wide = scaled(64 * 2 ** (number - 1), width)
            # The first convolution that lost its stride still reads what it read before.
            blocks = [block(before, wide, step, first_dilation)]
            before = wide * block.expansion
            blocks += [block(before, wide, 1, dilation) for _ in range(count - 1)]
            if number > 1:
                stages.append({})
            stages[-1][f"layer{number}"] = nn.Sequential(*blocks)
        super().__init__(stages)


def _conv3x3(in_channels: int, channels: int, stride: int, dilation: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, channels, 3, stride, dilation, dilation, bias=False)


def _downsample(in_channels: int, channels: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and in_channels == channels:
        return None
    conv = nn.Conv2d(in_channels, channels, 1, stride, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels))
