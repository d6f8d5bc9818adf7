"""Dilated convolutions instead of pooling: a front end, and a module that gathers context.

Source: Yu, Koltun: Multi-scale context aggregation by dilated convolutions (ICLR 2016).

    image → VGG16 at 1/8 → fc6 7 × 7, dilation 4 → fc7 → scores   (front end)
          → 3 × 3 with dilations 1, 1, 2, 4, 8, 16, 1 → 1 × 1    (context module) → upsample 8 times

The front end is VGG16 without pool4 and pool5. The context module has a receptive field of 67 × 67
of its pixels, at full resolution and for few parameters, because the distance of its taps doubles
from layer to layer. It begins as the identity of scores above 0, so it goes on from a front end
that has been trained already.

``geometry="reference"``: as published. The image is mirrored beyond its borders, 186 pixels on each
side, and no convolution of the front end is padded; 186 is what they take away, so the scores lie
over the image exactly. The padding makes small images expensive.

``geometry="aligned"``: every convolution is padded with zeros, and the image is not.

In both, each convolution of the context module is padded by its own dilation, as in the released
training code. The released network for VOC pads the first one by 33 instead and no other, so its
scores differ from these where the module reaches beyond the border.
"""

from __future__ import annotations

from tinyfcn import functional as F
from tinyfcn import nn
from tinyfcn.models.backbones.backbone import check_choice, scaled, with_relu
from tinyfcn.models.backbones.vgg import dilated_vgg16
from tinyfcn.models.mirror import mirror
from tinyfcn.models.network import GEOMETRIES, SegmentationNetwork
from tinyfcn.models.registry import register
from tinyfcn.tensor import Tensor

__all__ = ["dilation_context"]

HIDDEN, STRIDE = 4096, 8
MARGIN = 186  # pixels of the mirrored image on each side, in the reference geometry
CONTEXT_DILATIONS = (1, 1, 2, 4, 8, 16, 1)
# By layer: how many times the number of classes its channels are.
CONTEXTS = {"basic": (1,) * 7, "large": (2, 2, 4, 8, 16, 32, 32)}
NOISE = 0.01  # what a layer of the large module adds to the signal at first, as a part of it


class Dilation(SegmentationNetwork):
    """Yu and Koltun's network: images (N, 3, H, W) → scores (N, num_classes, H, W); for 21 classes
    134,346,581 parameters in the front end and 28,392 in the basic context module.

    Args:
        num_classes: number of classes, background included.
        width: multiplies the numbers of channels of the front end.
        batch_norm: whether batch normalization follows every convolution of the front end but its
            last.
        geometry: "aligned" or "reference"; see the head of this file.
        context: "basic", "large" with up to 32 times as many channels, or None for the front end
            alone, which is trained first.
        dropout: probability after fc6 and fc7.

    Attributes:
        backbone: VGG16's convolutions at 1/8 of the image's size.
        head: fc6, fc7 and the scores of the front end.
        context: the context module, or nothing.

    Raises:
        ValueError: naming the argument that does not fit.

    Example:
        >>> import numpy as np, tinyfcn
        >>> model = dilation_context(num_classes=3, width=1 / 64)
        >>> model(tinyfcn.tensor(np.zeros((1, 3, 33, 47), np.float32))).shape
        (1, 3, 33, 47)
    """

    def __init__(
        self,
        num_classes: int = 21,
        width: float = 1.0,
        batch_norm: bool = False,
        geometry: str = "aligned",
        context: str | None = "basic",
        dropout: float = 0.5,
    ) -> None:
        check_choice("dilation_context", "geometry", geometry, GEOMETRIES)
        check_choice("dilation_context", "context", context, (*CONTEXTS, None))
        self.geometry = geometry
        padded = geometry == "aligned"
        pooling = [nn.MaxPool2d(2) if stage < 3 else nn.Identity() for stage in range(5)]
        self.backbone = dilated_vgg16(width, batch_norm, pooling, padded)
        hidden = scaled(HIDDEN, width)
        fc6 = nn.Conv2d(scaled(512, width), hidden, 7, padding=12 if padded else 0, dilation=4)
        head: list[nn.Module] = []
        for convolution in (fc6, nn.Conv2d(hidden, hidden, 1)):
            head += [*with_relu(convolution, batch_norm), nn.Dropout(dropout)]
        self.head = nn.Sequential(*head, nn.Conv2d(hidden, num_classes, 1))
        self.context = context_module(num_classes, context) if context else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) → scores (N, num_classes, H, W), for any H and W of at least 1."""
        height, width = x.shape[2:]
        margin = 0 if self.geometry == "aligned" else MARGIN
        # At the right and the bottom up to a multiple of the stride: no pixel is without a score.
        rest = [-n % STRIDE for n in (width, height)]
        x = mirror(x, (margin, margin + rest[0], margin, margin + rest[1]))
        scores = self.context(self.head(self.backbone(x)))
        upsampled = F.interpolate(scores, scale_factor=STRIDE, mode="bilinear")
        return F.crop(upsampled, 0, (height, width))


dilation_context = register("segmentation", "Yu, Koltun 2016", name="dilation_context")(Dilation)


def context_module(channels: int, kind: str = "basic") -> nn.Sequential:
    """Score maps (N, channels, H, W) → the same shape; the receptive field is 67 × 67 pixels.

    Seven 3 × 3 convolutions, each with a ReLU, and one of 1 × 1 (table 1 of the paper): 64 C² + 8 C
    parameters for C channels. The first weights copy every channel (section 3). In the "large"
    module there are several copies of each, which the next layer averages; a little noise on all
    weights tells them apart, or they would have the same gradients and stay copies for ever.

    Example:
        >>> from tinyfcn import models, nn
        >>> models.geometry.receptive_field(context_module(2))
        (67, 1)
        >>> nn.count_parameters(context_module(21))
        28392
    """
    layers: list[nn.Module] = []
    before = channels
    for factor, dilation in zip(CONTEXTS[kind], CONTEXT_DILATIONS, strict=True):
        after = factor * channels
        layers += [nn.Conv2d(before, after, 3, padding=dilation, dilation=dilation), nn.ReLU()]
        before = after
    layers.append(nn.Conv2d(before, channels, 1))
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            _copying_(layer, channels)
    return nn.Sequential(*layers)


def _copying_(layer: nn.Conv2d, channels: int) -> None:
    """Weights that hand every one of ``channels`` channels on, to all of its copies."""
    before, after = layer.in_channels // channels, layer.out_channels // channels
    middle = layer.kernel_size[0] // 2
    if before == after == 1:
        nn.init.zeros_(layer.weight)
    else:
        terms = layer.in_channels * layer.kernel_size[0] ** 2
        nn.init.normal_(layer.weight, std=NOISE / terms**0.5)
    for i in range(layer.out_channels):
        first = i // after * before
        layer.weight.data[i, first : first + before, middle, middle] += 1.0 / before
