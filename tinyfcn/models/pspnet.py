"""PSPNet: the means over the image, its quarters, its ninths and its thirty-sixths.

Source: Zhao, Shi, Qi, Wang, Jia: Pyramid scene parsing network (CVPR 2017), sections 3.2 and 3.3.

    layer4 ─┬────────────────────────────────────────────┐
            ├─ mean over 1 × 1 part   → 1 × 1 → upsample ┤
            ├─ means over 2 × 2 parts → 1 × 1 → upsample ┼─ cat → 3 × 3 → scores
            ├─ means over 3 × 3 parts → 1 × 1 → upsample ┤
            └─ means over 6 × 6 parts → 1 × 1 → upsample ┘

The backbone is a ResNet whose last two stages are dilated, so layer4 has 1/8 of the image's size;
the second head, on layer3, is there to learn (weight of its loss: 0.4). Backbone and second head
are those of ``dilated_resnet.py``, torchvision's; the published backbone has three 3 × 3
convolutions instead of its first, 7 × 7.
"""

from __future__ import annotations

from tinyfcn import functional as F
from tinyfcn import nn
from tinyfcn.models.backbones.backbone import check_choice, with_relu
from tinyfcn.models.dilated_resnet import TRAINING, DilatedResNet, FCNHead
from tinyfcn.models.registry import register
from tinyfcn.tensor import Tensor

__all__ = ["pspnet"]

BINS = (1, 2, 3, 6)  # rows and columns of the grids
PUBLISHED = TRAINING | {
    "lr": 0.01, "epochs": None, "iterations": 30_000, "batch_size": 16, "accumulate": 1,
}  # fmt: skip


class PyramidPooling(nn.Module):
    """(N, C, h, w) → (N, 2 C, h, w): the map, and beside it its means over coarse grids.

    Args:
        channels: C, a multiple of the number of bins; each grid gives C / len(BINS) channels.
    """

    def __init__(self, channels: int) -> None:
        self.levels = nn.ModuleList()
        for size in BINS:
            convolution = nn.Conv2d(channels, channels // len(BINS), 1, bias=False)
            self.levels.append(nn.Sequential(nn.AdaptiveAvgPool2d(size), *with_relu(convolution)))

    def forward(self, x: Tensor) -> Tensor:
        """The map first, then the grids in the order of the bins, each upsampled bilinearly."""
        size = (x.shape[2], x.shape[3])
        means = [F.interpolate(level(x), size, mode="bilinear") for level in self.levels]
        return F.cat([x, *means], 1)


@register("segmentation", source="Zhao et al. 2017", presets=[PUBLISHED])
def pspnet(
    num_classes: int = 21, width: float = 1.0, depth: int = 50, aux_loss: bool = True
) -> DilatedResNet:
    """PSPNet: images (N, 3, H, W) → scores (N, num_classes, H, W); 46,592,597 parameters for 21
    classes with ResNet-50, and 2,365,205 in the second head.

    Published training: SGD, momentum 0.9, weight decay 1e-4, batches of 16, learning rate 0.01 with
    the "poly" schedule of power 0.9 (:class:`tinyfcn.optim.PolyLR`).

    Args:
        num_classes: number of classes, background included.
        width: multiplies all other numbers of channels.
        depth: of the ResNet, 50 or 101.
        aux_loss: whether to have the second head.

    Returns:
        A network as of :func:`tinyfcn.models.fcn_resnet50`. In training it needs two images at a
        time, because the global mean leaves one number per image and channel to normalize.

    Raises:
        ValueError: naming the argument that does not fit.

    Example:
        >>> import numpy as np, tinyfcn
        >>> model = pspnet(num_classes=3, width=1 / 32).eval()
        >>> model(tinyfcn.tensor(np.zeros((1, 3, 33, 47), np.float32))).shape
        (1, 3, 33, 47)
    """
    check_choice("pspnet", "depth", depth, (50, 101))
    return DilatedResNet(depth, num_classes, width, aux_loss, _head, aux_weight=0.4)


def _head(channels: int, num_classes: int) -> nn.Sequential:
    return nn.Sequential(PyramidPooling(channels), *FCNHead(2 * channels, num_classes, reduction=8))
