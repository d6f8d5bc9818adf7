"""U-Net: the whole feature maps of the way down are handed over to the way up.

Source: Ronneberger, Fischer, Brox: U-Net, convolutional networks for biomedical image segmentation
(MICCAI 2015), section 2.

    image → [conv conv] ────────── crop, concatenate ──────────→ [conv conv] → 1 × 1 → scores
                 └ pool → [conv conv] ── crop, concatenate ──→ [conv conv] ┘ upsample
                               └ pool →       …         → upsample ┘

Four times the map is halved and its channels are doubled, 64 to 1024; then four times a 2 × 2
transposed convolution upsamples it and halves the channels, the map of the same size from the way
down is laid beside it, and two convolutions join both.

``geometry="reference"``: as published, no convolution is padded, and maps are cropped in the middle
to fit. Every score is made of real pixels only, but the scores cover the image without a margin of
92 pixels: 572 → 388. The image's sides must be 16·b + 60, so that no pooling meets an odd map.
Images of any size are mirrored beyond their border, to be labelled
(:mod:`tinyfcn.training.overlap_tile`) and to be learned from
(:func:`tinyfcn.training.datasets.augmentation`).

``geometry="aligned"``: every convolution is padded by 1, pooling rounds up, and scores of any size
come back as large as the image.
"""

from __future__ import annotations

from tinyfcn import functional as F
from tinyfcn import nn
from tinyfcn.models.backbones.backbone import check_choice, scaled, with_relu
from tinyfcn.models.network import GEOMETRIES, SegmentationNetwork
from tinyfcn.models.registry import SGD, register
from tinyfcn.tensor import Tensor

__all__ = ["unet"]

CHANNELS = (64, 128, 256, 512, 1024)
# Neither the learning rate nor the number of steps was published.
TRAINING = SGD | {
    "geometry": "reference", "batch_size": 1, "crop": 388, "momentum": 0.99, "weight_decay": 0.0,
    "preprocessing": "torchvision",
}  # fmt: skip


class UNet(SegmentationNetwork):
    """U-Net: images (N, 3, H, W) → scores; 23 convolutions, 31,031,810 parameters for 2 classes,
    and 31,030,658 with ``in_channels=1``, for grey images, as published.

    Weights begin as in the paper, normal with variance 2 / (number of inputs of a neuron). The
    paper's loss also counts the pixels between touching cells more; training here does not.

    Args:
        num_classes: number of classes, background included.
        width: multiplies the numbers of channels.
        batch_norm: whether batch normalization follows every 3 × 3 convolution; published: no.
        geometry: "reference" or "aligned"; see the head of this file.
        dropout: probability at the end of the way down.

    Attributes:
        down: five pairs of convolutions, at strides 1, 2, 4, 8, 16.
        enlarge: four transposed convolutions, from the coarsest to the finest.
        up: four pairs of convolutions, each after one of them.
        score: a 1 × 1 convolution.
        margin: pixels of the image on each side that have no score, 92 or 0.

    Raises:
        ValueError: naming the argument that does not fit.

    Example:
        >>> import numpy as np, tinyfcn
        >>> model = unet(width=1 / 64)
        >>> model(tinyfcn.tensor(np.zeros((1, 3, 188, 204), np.float32))).shape
        (1, 2, 4, 20)
    """

    def __init__(
        self,
        num_classes: int = 2,
        width: float = 1.0,
        batch_norm: bool = False,
        geometry: str = "reference",
        dropout: float = 0.5,
    ) -> None:
        check_choice("unet", "geometry", geometry, GEOMETRIES)
        self.geometry = geometry
        padding = 1 if geometry == "aligned" else 0
        self.margin = 0 if geometry == "aligned" else 92
        channels = [scaled(c, width) for c in CHANNELS]

        self.down, self.enlarge, self.up = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for before, after in zip([3, *channels], channels, strict=False):
            self.down.append(_two_convolutions(before, after, padding, batch_norm))
        self.dropout = nn.Dropout(dropout)
        for coarse, fine in zip(channels[:0:-1], channels[-2::-1], strict=True):
            self.enlarge.append(nn.ConvTranspose2d(coarse, fine, 2, stride=2))
            self.up.append(_two_convolutions(2 * fine, fine, padding, batch_norm))
        self.score = nn.Conv2d(channels[0], num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) → (N, num_classes, H − 2 · margin, W − 2 · margin)."""
        size = x.shape[2:]
        if self.geometry == "reference" and any(n < 188 or (n - 60) % 16 for n in size):
            raise ValueError(
                "unet: without padding, height and width must be 16·b + 60 and at least 188 (188, "
                f"204, …, 572, …), got {size[0]} x {size[1]}; see tinyfcn.training.overlap_tile "
                "for images of any size, or use geometry='aligned'"
            )
        handed_over = []
        for stage, convolutions in enumerate(self.down):
            if stage:
                x = F.max_pool2d(x, 2, ceil_mode=True)
            x = convolutions(x)
            handed_over.append(x)
        x = self.dropout(handed_over.pop())
        for upsample, convolutions in zip(self.enlarge, self.up, strict=True):
            x = convolutions(self._join(handed_over.pop(), upsample(x)))
        return self.score(x)

    def window(self, side: int) -> int:
        """The least side of an image whose scores cover ``side`` pixels: 388 → 572, 389 → 588."""
        if self.geometry == "aligned":
            return side
        return max(0, side - 4 + 15) // 16 * 16 + 4 + 2 * self.margin

    def _join(self, finer: Tensor, upsampled: Tensor) -> Tensor:
        """Side by side, over the pixels that both show."""
        height, width = finer.shape[2:]
        if self.geometry == "aligned":  # Pooling an odd map has rounded up.
            return F.cat([finer, F.crop(upsampled, 0, (height, width))], 1)
        h, w = upsampled.shape[2:]
        middle = F.crop(finer, ((height - h) // 2, (width - w) // 2), (h, w))
        return F.cat([middle, upsampled], 1)


unet = register(
    "segmentation", "Ronneberger et al. 2015", [TRAINING], [{"geometry": "aligned"}], name="unet"
)(UNet)  # fmt: skip


def _two_convolutions(before: int, after: int, padding: int, batch_norm: bool) -> nn.Sequential:
    first, second = (nn.Conv2d(n, after, 3, padding=padding) for n in (before, after))
    return nn.Sequential(*with_relu(first, batch_norm), *with_relu(second, batch_norm))
