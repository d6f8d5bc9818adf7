"""DeepLab on VGG16: dense features by dilation, and a large field of view for few parameters.

Source: Chen et al.: Semantic image segmentation with deep convolutional nets and fully connected
CRFs (ICLR 2015), LargeFOV; Chen et al.: DeepLab (TPAMI 2018), sections 3.1 and 3.2, ASPP.

    image → VGG16 at 1/8 → fc6 3 × 3, dilation 12 → fc7 1 × 1 → fc8 → upsample 8 times

fc6 has 3 × 3 taps instead of 7 × 7, twelve pixels apart, and 1024 channels instead of 4096: a sixth
of the parameters, with a field of view as large. ASPP, atrous spatial pyramid pooling, has four
such heads side by side with dilations 6, 12, 18 and 24, and adds their scores, so that objects of
all sizes find a window that suits them.

All poolings are 3 × 3 and padded by 1, so pixel i of the scores stands exactly over pixel 8·i of
the image. The scores are upsampled with that in mind and cut to the image's size: 321 → 41 → 321.
The fully connected CRF that refined the published results is not part of this package.
"""

from __future__ import annotations

from collections.abc import Sequence

from tinyfcn import functional as F
from tinyfcn import nn
from tinyfcn.models.backbones.backbone import scaled
from tinyfcn.models.backbones.vgg import dilated_vgg16
from tinyfcn.models.network import SegmentationNetwork
from tinyfcn.models.registry import SGD, register
from tinyfcn.tensor import Tensor

__all__ = ["deeplab_aspp", "deeplab_largefov"]

FOV_CHANNELS = 1024
TRAINING = SGD | {
    "lr": 1e-3, "schedule": "poly", "iterations": 20_000, "batch_size": 10, "crop": 321,
}  # fmt: skip


class DeepLab(SegmentationNetwork):
    """DeepLab; made by :func:`deeplab_largefov` and :func:`deeplab_aspp`, where the arguments are
    explained.

    Attributes:
        backbone: VGG16's convolutions at 1/8 of the image's size.
        heads: one chain of fc6, fc7 and fc8 for each dilation; their scores are added.
    """

    def __init__(
        self,
        num_classes: int,
        width: float,
        batch_norm: bool,
        dropout: float,
        rates: Sequence[int],
        average: bool,
    ) -> None:
        self.backbone = largefov_backbone(width, batch_norm, average)
        self.heads = nn.ModuleList()
        for rate in rates:
            layers = largefov_layers(rate, width, batch_norm, dropout)
            layers["fc8"] = nn.Conv2d(scaled(FOV_CHANNELS, width), num_classes, 1)
            self.heads.append(nn.Sequential(layers))

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) → scores (N, num_classes, H, W), for any H and W of at least 1."""
        features = self.backbone(x)
        first, *others = (head(features) for head in self.heads)
        return upsample_from_corner(sum(others, first), x)


@register("segmentation", source="Chen et al. 2017", presets=[TRAINING])
def deeplab_aspp(
    num_classes: int = 21,
    width: float = 1.0,
    batch_norm: bool = False,
    dropout: float = 0.5,
    rates: Sequence[int] = (6, 12, 18, 24),
) -> DeepLab:
    """DeepLab with atrous spatial pyramid pooling (ASPP-L); 37,877,652 parameters for 21 classes.

    Args:
        num_classes, width, batch_norm, dropout: as for :func:`deeplab_largefov`.
        rates: dilation of fc6 in each head; (2, 4, 8, 12) is the smaller ASPP-S.
    """
    if not rates or min(rates) < 1:
        raise ValueError(f"deeplab_aspp: rates must be dilations of at least 1, got {rates!r}")
    return DeepLab(num_classes, width, batch_norm, dropout, rates, False)


@register("segmentation", source="Chen et al. 2015", presets=[TRAINING])
def deeplab_largefov(
    num_classes: int = 21, width: float = 1.0, batch_norm: bool = False, dropout: float = 0.5
) -> DeepLab:
    """DeepLab-LargeFOV: images (N, 3, H, W) → scores (N, num_classes, H, W); 20,505,429 parameters
    for 21 classes.

    Published training: SGD, mini-batches of 20, learning rate 0.001 (0.01 for fc8), momentum 0.9,
    weight decay 5e-4; the second paper recommends the "poly" schedule
    (:class:`tinyfcn.optim.PolyLR`).

    Args:
        num_classes: number of classes, background included.
        width: multiplies all other numbers of channels.
        batch_norm: whether batch normalization follows every convolution but the last. Recommended
            when training from scratch; published weights have none.
        dropout: probability after fc6 and fc7.

    Raises:
        ValueError: naming the argument that does not fit.

    Example:
        >>> import numpy as np, tinyfcn
        >>> model = deeplab_largefov(num_classes=3, width=1 / 64)
        >>> model(tinyfcn.tensor(np.zeros((1, 3, 33, 47), np.float32))).shape
        (1, 3, 33, 47)
    """
    return DeepLab(num_classes, width, batch_norm, dropout, (12,), True)


def largefov_backbone(width: float, batch_norm: bool, average: bool) -> nn.Sequential:
    """VGG16 as DeepLab has it: 3 × 3 poolings, the last two of stride 1; with ``average`` one more
    pooling, of the mean."""
    halving = [nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True) for _ in range(3)]
    keeping = [nn.MaxPool2d(3, stride=1, padding=1) for _ in range(2)]
    backbone = dilated_vgg16(width, batch_norm, pooling=(*halving, *keeping))
    if average:
        backbone.append(nn.AvgPool2d(3, stride=1, padding=1))
    return backbone


def largefov_layers(
    rate: int, width: float, batch_norm: bool, dropout: float
) -> dict[str, nn.Module]:
    """fc6 with the given dilation, and fc7, by their names."""
    hidden = scaled(FOV_CHANNELS, width)
    fc6 = nn.Conv2d(scaled(512, width), hidden, 3, padding=rate, dilation=rate)
    layers: dict[str, nn.Module] = {}
    for i, convolution in enumerate((fc6, nn.Conv2d(hidden, hidden, 1)), start=6):
        layers[f"fc{i}"] = convolution
        if batch_norm:
            layers[f"bn{i}"] = nn.BatchNorm2d(hidden)
        layers |= {f"relu{i}": nn.ReLU(), f"drop{i}": nn.Dropout(dropout)}
    return layers


def upsample_from_corner(scores: Tensor, image: Tensor, factor: int = 8) -> Tensor:
    """Bilinear upsampling of maps whose pixel i lies over the image's pixel factor · i, cut to the
    image's size."""
    height, width = (factor * (n - 1) + 1 for n in scores.shape[2:])
    upsampled = F.interpolate(scores, (height, width), mode="bilinear", align_corners=True)
    return F.crop(upsampled, 0, (image.shape[2], image.shape[3]))
