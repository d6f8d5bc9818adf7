"""DeconvNet: VGG16 with its fully connected layers, and its mirror image.

Source: Noh, Hong, Han: Learning deconvolution network for semantic segmentation (ICCV 2015),
section 3 and the released network.

    image → [conv, pool] × 5 → fc6 7 × 7 → fc7 → 7 × 7 transposed → [unpool, transposed conv] × 5
               └── indices, size ─────────────────────────────────────┘            → 1 × 1 → scores

The image is 224 × 224, so that fc6 covers it and the way back starts from one vector of 4096
numbers. Every unpooling puts its values where the pooling of the same size found its maxima, and
transposed convolutions of 3 × 3 make the map dense again. SegNet is this without fc6 and fc7, which
hold nine tenths of the parameters.

Published results come from 50 object proposals an image, each scored by itself and joined by the
pixelwise maximum; here the network is given whole images.
"""

from __future__ import annotations

from tinyfcn import functional as F
from tinyfcn import nn
from tinyfcn.functional.sizes import smaller
from tinyfcn.models.backbones.backbone import scaled, with_relu
from tinyfcn.models.backbones.vgg import VGGBackbone
from tinyfcn.models.network import SegmentationNetwork
from tinyfcn.models.registry import register
from tinyfcn.models.unpooling import convolutions, decode, decoder, encode
from tinyfcn.tensor import Tensor

__all__ = ["deconvnet"]

HIDDEN, WINDOW = 4096, 7
# Output channels of the transposed convolutions after each unpooling.
DECODER = ((512, 512, 512), (512, 512, 256), (256, 256, 128), (128, 64), (64, 64))


class DeconvNet(SegmentationNetwork):
    """DeconvNet: images (N, 3, H, W) → scores (N, num_classes, H, W); 251,772,245 parameters for 21
    classes, a gigabyte in float32.

    Args:
        num_classes: number of classes, background included.
        width: multiplies all other numbers of channels.
        batch_norm: whether batch normalization follows every convolution but the last, as it did in
            the published training: 33,408 parameters more. Training needs at least two images at a
            time then, since fc7 has one pixel for an image of 224 × 224.

    Attributes:
        encoder: VGG16 up to pool5.
        fc6, fc7, fc6_deconv: 7 × 7, 1 × 1, and 7 × 7 back, each with its ReLU.
        decoder: five chains of 3 × 3 transposed convolutions, from the coarsest to the finest.
        score: a 1 × 1 convolution.

    Raises:
        ValueError: naming the argument that does not fit.

    Example:
        >>> import numpy as np, tinyfcn
        >>> model = deconvnet(num_classes=3, width=1 / 64)
        >>> model(tinyfcn.tensor(np.zeros((1, 3, 224, 195), np.float32))).shape
        (1, 3, 224, 195)
    """

    def __init__(self, num_classes: int = 21, width: float = 1.0, batch_norm: bool = False) -> None:
        self.encoder = VGGBackbone(width=width, batch_norm=batch_norm, ceil_mode=True)
        channels, hidden = self.encoder.channels[-1], scaled(HIDDEN, width)
        self.fc6 = nn.Sequential(*with_relu(nn.Conv2d(channels, hidden, WINDOW), batch_norm))
        self.fc7 = nn.Sequential(*with_relu(nn.Conv2d(hidden, hidden, 1), batch_norm))
        self.fc6_deconv = nn.Sequential(
            *with_relu(nn.ConvTranspose2d(hidden, channels, WINDOW), batch_norm)
        )
        self.decoder = decoder(DECODER, channels, width, nn.ConvTranspose2d, batch_norm)
        self.score = nn.Conv2d(scaled(DECODER[-1][-1], width), num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) → scores (N, num_classes, H, W), for any H and W of at least 1."""
        y, switches = encode(convolutions(self.encoder), x)
        height, width = y.shape[2:]
        # Below 193 pixels pool5 does not fill fc6's window; zeros do, and are cut off again.
        right, bottom = (WINDOW - smaller(WINDOW, n) for n in (width, height))
        y = self.fc7(self.fc6(F.pad(y, (0, right, 0, bottom))))
        y = F.crop(self.fc6_deconv(y), 0, (height, width))
        return self.score(decode(self.decoder, y, switches))


deconvnet = register("segmentation", source="Noh et al. 2015", name="deconvnet")(DeconvNet)
