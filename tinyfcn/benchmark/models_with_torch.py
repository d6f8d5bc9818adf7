"""Networks of ``tinyfcn/models`` in PyTorch, layer by layer the same.

Their weights are those that PyTorch draws: times do not depend on them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Output channels of the convolutions of each stage.
VGG16 = ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3)
SEGNET = ((512, 512, 512), (512, 512, 256), (256, 256, 128), (128, 64), (64,))  # its decoder
UNET = (64, 128, 256, 512, 1024)
# ResNet-50 of output stride 8: channels, blocks, stride, dilation of the first block, of the others
RESNET50 = ((64, 3, 1, 1, 1), (128, 4, 2, 1, 1), (256, 6, 1, 1, 2), (512, 3, 1, 2, 4))


def chain(
    c: int, *channels: int, kernel: int = 3, stride: int = 1, dilation: int = 1,
    padded: bool = True, bias: bool = True, norm: bool = True, relu: bool = True,
) -> nn.Sequential:  # fmt: skip
    """Convolutions, each with batch normalization and ReLU, if wanted."""
    layers: list[nn.Module] = []
    padding = dilation * (kernel // 2) * padded
    for before, after in zip((c, *channels), channels, strict=False):
        layers.append(nn.Conv2d(before, after, kernel, stride, padding, dilation, bias=bias))
        layers += [nn.BatchNorm2d(after)] * norm + [nn.ReLU(inplace=True)] * relu
    return nn.Sequential(*layers)


def chains(c: int, stages: Iterable[tuple[int, ...]], **options: Any) -> nn.ModuleList:
    """A chain for each stage, which goes on with the channels of the one before."""
    made = nn.ModuleList()
    for stage in stages:
        made.append(chain(c, *stage, **options))
        c = stage[-1]
    return made


class FCN8s(nn.Module):
    """FCN-8s on VGG16 in aligned geometry."""

    def __init__(self, num_classes: int, width: float = 1.0, batch_norm: bool = False) -> None:
        super().__init__()

        def upsampling(factor: int) -> nn.Module:
            return nn.ConvTranspose2d(
                num_classes, num_classes, 2 * factor, factor, factor // 2,
                groups=num_classes, bias=False,
            ).requires_grad_(False)  # fmt: skip

        stages = [tuple(round(c * width) for c in stage) for stage in VGG16]
        self.stages = chains(3, stages, norm=batch_norm)
        c, hidden = stages[-1][-1], round(4096 * width)
        self.head = nn.Sequential(
            chain(c, hidden, kernel=7, norm=batch_norm), nn.Dropout(),
            chain(hidden, hidden, kernel=1, norm=batch_norm), nn.Dropout(),
            nn.Conv2d(hidden, num_classes, 1),
        )  # fmt: skip
        self.score4 = nn.Conv2d(c, num_classes, 1)
        self.score3 = nn.Conv2d(stages[2][-1], num_classes, 1)
        self.up2, self.up4, self.up8 = (upsampling(factor) for factor in (2, 2, 8))

    def forward(self, x: Tensor) -> Tensor:
        pools, y = [], x
        for stage in self.stages:
            y = F.max_pool2d(stage(y), 2, ceil_mode=True)
            pools.append(y)
        y = add_overlap(self.up2(self.head(y)), self.score4(pools[3]))
        y = add_overlap(self.up4(y), self.score3(pools[2]))
        return self.up8(y)[:, :, : x.shape[2], : x.shape[3]]


def add_overlap(y: Tensor, finer: Tensor) -> Tensor:
    """The sum of two maps where both have pixels: one may be a row or a column larger."""
    h, w = min(y.shape[2], finer.shape[2]), min(y.shape[3], finer.shape[3])
    return y[:, :, :h, :w] + finer[:, :, :h, :w]


class UNet(nn.Module):
    """U-Net without padding."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.down = chains(3, [(c, c) for c in UNET], norm=False, padded=False)
        self.enlarge, self.up = nn.ModuleList(), nn.ModuleList()
        for c in UNET[-2::-1]:
            self.enlarge.append(nn.ConvTranspose2d(2 * c, c, 2, 2))
            self.up.append(chain(2 * c, c, c, norm=False, padded=False))
        self.dropout, self.score = nn.Dropout(), nn.Conv2d(UNET[0], num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps: list[Tensor] = []
        for stage in self.down:
            x = stage(F.max_pool2d(x, 2) if maps else x)
            maps.append(x)
        x = self.dropout(maps.pop())
        for enlarge, stage in zip(self.enlarge, self.up, strict=True):
            x, finer = enlarge(x), maps.pop()
            d = (finer.shape[2] - x.shape[2]) // 2
            x = stage(torch.cat([finer[:, :, d:-d, d:-d], x], 1))
        return self.score(x)


class SegNet(nn.Module):
    """SegNet."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.encoder, self.decoder = chains(3, VGG16), chains(512, SEGNET)
        self.score = nn.Conv2d(64, num_classes, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        switches = []
        for stage in self.encoder:
            y = stage(x)
            x, indices = F.max_pool2d(y, 2, ceil_mode=True, return_indices=True)
            switches.append((indices, y.shape[2:]))
        for stage in self.decoder:
            indices, size = switches.pop()
            x = stage(F.max_unpool2d(x, indices, 2, output_size=size))
        return self.score(x)


class Bottleneck(nn.Module):
    """A residual block of ResNet-50."""

    def __init__(self, c: int, wide: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            chain(c, wide, kernel=1, bias=False),
            chain(wide, wide, stride=stride, dilation=dilation, bias=False),
            chain(wide, 4 * wide, kernel=1, bias=False, relu=False),
        )
        self.beside: nn.Module = nn.Identity()
        if c != 4 * wide:
            self.beside = chain(c, 4 * wide, kernel=1, stride=stride, bias=False, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.beside(x), inplace=True)


class ASPPPooling(nn.Sequential):
    """The mean over the map, spread over it again."""

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(super().forward(x), x.shape[2:], mode="bilinear")


class DeepLabv3(nn.Module):
    """DeepLabv3 on ResNet-50, without the second head, which has no part in the steps."""

    def __init__(self, num_classes: int, aux_loss: bool = False) -> None:
        super().__init__()
        layers = [chain(3, 64, kernel=7, stride=2, bias=False), nn.MaxPool2d(3, 2, 1)]
        c = 64
        for wide, count, stride, first, dilation in RESNET50:
            layers.append(Bottleneck(c, wide, stride, first))
            c = 4 * wide
            layers += [Bottleneck(c, wide, 1, dilation) for _ in range(count - 1)]
        self.backbone = nn.Sequential(*layers)
        one = [chain(c, 256, kernel=1, bias=False) for _ in range(2)]
        self.views = nn.ModuleList([one[0], ASPPPooling(nn.AdaptiveAvgPool2d(1), one[1])])
        self.views.extend(chain(c, 256, dilation=rate, bias=False) for rate in (12, 24, 36))
        self.head = nn.Sequential(
            chain(5 * 256, 256, kernel=1, bias=False), nn.Dropout(), chain(256, 256, bias=False),
            nn.Conv2d(256, num_classes, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        y = self.backbone(x)
        y = self.head(torch.cat([view(y) for view in self.views], 1))
        return F.interpolate(y, x.shape[2:], mode="bilinear")


fcn8s, unet, segnet, deeplabv3_resnet50 = FCN8s, UNet, SegNet, DeepLabv3
