"""The convolutional part of GoogLeNet: a stem and nine inception blocks, which look at their input
through windows of several sizes at once.

    x ─┬─ 1 × 1 ───────────────────┐
       ├─ 1 × 1 → 3 × 3 ───────────┤
       ├─ 1 × 1 → 5 × 5 ───────────┼─ cat
       └─ max pool 3 × 3 → 1 × 1 ──┘

There are two published forms, with one set of names here, torchvision's:

"bvlc": that of the paper, as BVLC trained it. Response normalization in the stem, biases; pooling
rounds up.

"torchvision": batch normalization after every convolution instead, no biases. What should be 5 × 5
is 3 × 3, a known mistake that its weights were trained with, and the last pooling is 2 × 2.

Source: Szegedy et al.: Going deeper with convolutions (CVPR 2015), table 1.
"""

from __future__ import annotations

from functools import partial

from tinyfcn import functional as F
from tinyfcn import nn
from tinyfcn.models.backbones.backbone import Backbone, check_choice, scaled
from tinyfcn.tensor import Tensor

# Channels of a block: 1 × 1; 3 × 3 and the 1 × 1 before it; 5 × 5 alike; the 1 × 1 after pooling.
BLOCKS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


class Inception(nn.Module):
    """Four branches, joined: (N, C, H, W) → (N, out_channels, H, W).

    Args:
        in_channels: C.
        channels: six numbers as in ``BLOCKS``.
        form: "torchvision" or "bvlc".
    """

    def __init__(self, in_channels: int, channels: tuple[int, ...], form: str) -> None:
        ones, to_threes, threes, to_fives, fives, pooled = channels
        conv, large = partial(convolution, form=form), 5 if form == "bvlc" else 3
        self.out_channels = ones + threes + fives + pooled
        self.branch1 = conv(in_channels, ones, 1)
        self.branch2 = nn.Sequential(conv(in_channels, to_threes, 1), conv(to_threes, threes, 3))
        self.branch3 = nn.Sequential(conv(in_channels, to_fives, 1), conv(to_fives, fives, large))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, padding=1), conv(in_channels, pooled, 1))

    def forward(self, x: Tensor) -> Tensor:
        """What the branches find, one after the other in the channels."""
        return F.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class GoogLeNetBackbone(Backbone):
    """GoogLeNet up to its last block.

    Args:
        width: multiplies the numbers of channels.
        form: "torchvision" or "bvlc".
        centred: pad every pooling by 1, instead of rounding its size up, so that pixel i of a map
            of stride s is centred on pixel s · i of the image; the last pooling is 3 × 3 then in
            both forms.

    Attributes:
        ends: conv1, conv3, inception3b, 4e, 5b (or the normalization after them), at strides 2, 4,
            8, 16, 32.
        channels: number of channels after each of them.

    Example:
        >>> GoogLeNetBackbone(width=1 / 16).channels
        (4, 12, 30, 52, 64)
    """

    def __init__(
        self, width: float = 1.0, form: str = "torchvision", centred: bool = False
    ) -> None:
        check_choice("googlenet", "form", form, ("torchvision", "bvlc"))

        def pooling(kernel: int = 3) -> nn.MaxPool2d:
            padding = 1 if centred else 0
            return nn.MaxPool2d(3 if centred else kernel, 2, padding, ceil_mode=not centred)

        def response_norm(name: str) -> dict[str, nn.Module]:
            norm = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
            return {name: norm} if form == "bvlc" else {}

        stem, channels = scaled(64, width), scaled(192, width)
        stages: list[dict[str, nn.Module]] = [
            {"conv1": convolution(3, stem, 7, form, stride=2)},
            {
                "maxpool1": pooling(),
                **response_norm("norm1"),
                "conv2": convolution(stem, stem, 1, form),
                "conv3": convolution(stem, channels, 3, form),
                **response_norm("norm2"),
            },
            {"maxpool2": pooling()},
        ]
        for name, numbers in BLOCKS.items():
            if name == "4a":
                stages.append({"maxpool3": pooling()})
            if name == "5a":
                stages.append({"maxpool4": pooling(2 if form == "torchvision" else 3)})
            block = Inception(channels, tuple(scaled(n, width) for n in numbers), form)
            stages[-1][f"inception{name}"] = block
            channels = block.out_channels
        super().__init__(stages)


def convolution(
    in_channels: int, channels: int, kernel: int, form: str, stride: int = 1
) -> nn.Sequential:
    """Convolution that keeps the size (but for the stride), batch norm in one form, ReLU."""
    layers: dict[str, nn.Module] = {
        "conv": nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, bias=form == "bvlc"),
    }
    if form == "torchvision":
        layers["bn"] = nn.BatchNorm2d(channels, eps=0.001)
    return nn.Sequential({**layers, "relu": nn.ReLU()})
