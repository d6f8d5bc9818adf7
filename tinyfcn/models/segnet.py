"""SegNet and SegNet-Basic: a decoder that unpools with the indices of the encoder's poolings.

Source: Badrinarayanan, Kendall, Cipolla: SegNet, a deep convolutional encoder-decoder architecture
for image segmentation (TPAMI 2017), section 3.

Max pooling throws away where in its window the maximum was, and with it the outlines. SegNet keeps
that place, two bits a window, and the decoder puts every value back there. The sparse map that this
gives is made dense again by convolutions.

    image → [conv, pool] × 5 ──────→ [unpool, conv] × 5 → scores
               └── indices, size ────────┘

Pooling rounds up, and unpooling is told the size of the map before it, so every image's size comes
back exactly: 45 → 23 → 45, where doubling would give 46.

Different from the published files: batch normalization has PyTorch's running averages and
eps 1e-5 (there 1e-9, and statistics computed after training), and its shift begins at 0, not 0.001.
"""

from __future__ import annotations

from functools import partial

from tinyfcn import nn
from tinyfcn.models.backbones.backbone import scaled, with_relu
from tinyfcn.models.backbones.vgg import VGGBackbone
from tinyfcn.models.network import SegmentationNetwork
from tinyfcn.models.registry import SGD, register
from tinyfcn.models.unpooling import convolutions, decode, decoder, encode
from tinyfcn.tensor import Tensor

__all__ = ["segnet", "segnet_basic"]

# Output channels of the convolutions after each unpooling; the last one gives the classes.
DECODER = ((512, 512, 512), (512, 512, 256), (256, 256, 128), (128, 64), (64,))
BASIC_CHANNELS = 64
# The weights of the classes balance rare and frequent ones, see
# tinyfcn.training.class_weights.median_frequency_weights.
TRAINING = SGD | {
    "batch_size": 4, "flip": False, "bias_lr": 2.0, "class_weights": "median-frequency",
}  # fmt: skip


class SegNet(SegmentationNetwork):
    """SegNet: images (N, 3, H, W) → scores (N, num_classes, H, W); 29,449,355 parameters for the 11
    classes of CamVid.

    Published training: SGD, learning rate 0.001, momentum 0.9, weight decay 5e-4, cross-entropy
    with :func:`median-frequency weights <tinyfcn.training.class_weights.median_frequency_weights>`.

    Args:
        num_classes: number of classes, background included.
        width: multiplies all other numbers of channels.

    Attributes:
        encoder: VGG16's convolutions with batch normalization, under the keys of ``features`` of
            :func:`tinyfcn.models.vgg16_bn`.
        decoder: five chains of convolution, batch normalization and ReLU, from the coarsest map to
            the finest.
        score: the last convolution, 3 × 3, without either.

    Raises:
        ValueError: naming the argument that does not fit.

    Example:
        >>> import numpy as np, tinyfcn
        >>> model = segnet(num_classes=3, width=1 / 64)
        >>> model(tinyfcn.tensor(np.zeros((1, 3, 45, 61), np.float32))).shape
        (1, 3, 45, 61)
    """

    def __init__(self, num_classes: int = 11, width: float = 1.0) -> None:
        self.encoder = VGGBackbone(width=width, batch_norm=True, ceil_mode=True)
        self.decoder = decoder(DECODER, self.encoder.channels[-1], width, nn.Conv2d, True)
        self.score = nn.Conv2d(scaled(DECODER[-1][-1], width), num_classes, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) → scores (N, num_classes, H, W), for any H and W of at least 1."""
        y, switches = encode(convolutions(self.encoder), x)
        return self.score(decode(self.decoder, y, switches))


class SegNetBasic(SegmentationNetwork):
    """SegNet-Basic, the small one for experiments: images (N, 3, H, W) → scores (N, num_classes, H,
    W); 1,416,587 parameters for 11 classes, and a context of 106 × 106 pixels.

    Args:
        num_classes: number of classes, background included.
        width: multiplies the 64 channels of every layer.

    Attributes:
        normalize: local response normalization of the image.
        encoder: four chains of 7 × 7 convolution, batch normalization and ReLU.
        decoder: four chains of 7 × 7 convolution and batch normalization: no ReLU, as published.
        score: a 1 × 1 convolution.

    Raises:
        ValueError: naming the argument that does not fit.

    Example:
        >>> from tinyfcn import nn
        >>> nn.count_parameters(segnet_basic())
        1416587
    """

    def __init__(self, num_classes: int = 11, width: float = 1.0) -> None:
        channels = scaled(BASIC_CHANNELS, width)
        self.normalize = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)
        self.encoder = nn.ModuleList(
            nn.Sequential(*with_relu(nn.Conv2d(before, channels, 7, padding=3)))
            for before in (3, channels, channels, channels)
        )
        self.decoder = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, channels, 7, padding=3), nn.BatchNorm2d(channels))
            for _ in self.encoder
        )
        self.score = nn.Conv2d(channels, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) → scores (N, num_classes, H, W), for any H and W of at least 1."""
        y, switches = encode(self.encoder, self.normalize(x))
        return self.score(decode(self.decoder, y, switches))


_network = partial(register, "segmentation", "Badrinarayanan et al. 2017")
segnet = _network([TRAINING | {"lr": 1e-3, "iterations": 40_000}], name="segnet")(SegNet)
segnet_basic = _network(
    [TRAINING | {"lr": 0.1, "iterations": 10_000}], name="segnet_basic"
)(SegNetBasic)  # fmt: skip
