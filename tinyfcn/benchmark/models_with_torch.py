"""Networks of ``tinyfcn/models`` in PyTorch, layer by layer the same.

Their weights are those that PyTorch draws: times do not depend on them.
"""

from __future__ import annotations

from torch import Tensor, nn

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # VGG16: (channels, convolutions)


class FCN8s(nn.Module):
    """FCN-8s on VGG16 in aligned geometry, see ``tinyfcn/models/fcn.py``."""

    def __init__(self, num_classes: int, width: float = 1.0, batch_norm: bool = False) -> None:
        super().__init__()

        def block(c: int, out: int, kernel: int) -> list[nn.Module]:
            norm = [nn.BatchNorm2d(out)] if batch_norm else []
            return [nn.Conv2d(c, out, kernel, padding=kernel // 2), *norm, nn.ReLU(inplace=True)]

        def upsampling(factor: int) -> nn.Module:
            return nn.ConvTranspose2d(
                num_classes, num_classes, 2 * factor, factor, factor // 2,
                groups=num_classes, bias=False,
            ).requires_grad_(False)  # fmt: skip

        self.stages, c = nn.ModuleList(), 3
        for channels, convolutions in STAGES:
            layers: list[nn.Module] = []
            for _ in range(convolutions):
                layers += block(c, round(channels * width), 3)
                c = round(channels * width)
            self.stages.append(nn.Sequential(*layers, nn.MaxPool2d(2, ceil_mode=True)))
        hidden = round(4096 * width)
        self.head = nn.Sequential(
            *block(c, hidden, 7), nn.Dropout(), *block(hidden, hidden, 1), nn.Dropout(),
            nn.Conv2d(hidden, num_classes, 1),
        )  # fmt: skip
        self.score4 = nn.Conv2d(c, num_classes, 1)
        self.score3 = nn.Conv2d(round(256 * width), num_classes, 1)
        self.up2, self.up4, self.up8 = (upsampling(factor) for factor in (2, 2, 8))

    def forward(self, x: Tensor) -> Tensor:
        pools, y = [], x
        for stage in self.stages:
            y = stage(y)
            pools.append(y)
        y = add_overlap(self.up2(self.head(y)), self.score4(pools[3]))
        y = add_overlap(self.up4(y), self.score3(pools[2]))
        return self.up8(y)[:, :, : x.shape[2], : x.shape[3]]


fcn8s = FCN8s


def add_overlap(y: Tensor, finer: Tensor) -> Tensor:
    """The sum of two maps where both have pixels: one may be a row or a column larger."""
    h, w = min(y.shape[2], finer.shape[2]), min(y.shape[3], finer.shape[3])
    return y[:, :, :h, :w] + finer[:, :, :h, :w]
