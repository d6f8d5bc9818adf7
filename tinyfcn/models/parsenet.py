"""ParseNet: every pixel is told what the whole image looks like.

Source: Liu, Rabinovich, Berg: ParseNet, looking wider to see better (2015), section 3.

    features ─────────────────────────→ L2 norm ─┐
        └→ mean over the image → L2 norm → repeat ┴→ concatenate → 1 × 1 → scores

The receptive field of fc7 is hundreds of pixels in theory; what really influences it is much less.
The mean over the image brings in the rest for almost no work. Features and means differ in size by
orders of magnitude, so both are first brought to length 1 in every pixel, and a factor that is
learned for each channel gives them back a size that suits them.

The features are those of DeepLab-LargeFOV here, the baseline of the paper's experiments on VOC.
"""

from __future__ import annotations

import numpy as np

from tinyfcn import backend, nn
from tinyfcn import functional as F
from tinyfcn.functional.reduction import broadcast_to
from tinyfcn.models import deeplab
from tinyfcn.models.backbones.backbone import scaled
from tinyfcn.models.network import SegmentationNetwork
from tinyfcn.models.registry import register
from tinyfcn.tensor import Tensor

__all__ = ["parsenet"]


class L2Norm(nn.Module):
    """y[n, c] = weight[c] · x[n, c] / sqrt(Σ_c x[n, c]² + eps), at every pixel by itself.

    Args:
        channels: C.
        scale: what every weight begins with: the length that pixels have afterwards.
        eps: keeps pixels of zeros, and their gradients, finite.

    Example:
        >>> import tinyfcn
        >>> L2Norm(2, scale=10.0)(tinyfcn.tensor([[[[3.0]], [[4.0]]]])).numpy().round(3).ravel()
        array([6., 8.], dtype=float32)
    """

    def __init__(self, channels: int, scale: float = 10.0, eps: float = 1e-10) -> None:
        self.eps = eps
        self.weight = nn.Parameter(backend.active().as_array(np.full(channels, scale, "float32")))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same shape."""
        length = ((x * x).sum(1, keepdim=True) + self.eps).sqrt()
        return x / length * self.weight.reshape(1, -1, 1, 1)


class ParseNet(SegmentationNetwork):
    """ParseNet: images (N, 3, H, W) → scores (N, num_classes, H, W); 20,528,981 parameters for 21
    classes, 23,552 more than DeepLab-LargeFOV.

    The global mean makes scores depend on the whole image: those of a crop differ.

    Args:
        num_classes: number of classes, background included.
        width: multiplies all other numbers of channels.
        batch_norm: whether batch normalization follows every convolution but the last.
        dropout: probability after fc6 and fc7.

    Attributes:
        backbone: VGG16's convolutions at 1/8 of the image's size.
        head: fc6 and fc7.
        local_norm, global_norm: the two L2 normalizations.
        score: a 1 × 1 convolution of both, side by side.

    Raises:
        ValueError: naming the argument that does not fit.

    Example:
        >>> import numpy as np, tinyfcn
        >>> model = parsenet(num_classes=3, width=1 / 64)
        >>> model(tinyfcn.tensor(np.zeros((1, 3, 33, 47), np.float32))).shape
        (1, 3, 33, 47)
    """

    def __init__(
        self,
        num_classes: int = 21,
        width: float = 1.0,
        batch_norm: bool = False,
        dropout: float = 0.5,
    ) -> None:
        channels = scaled(deeplab.FOV_CHANNELS, width)
        self.backbone = deeplab.largefov_backbone(width, batch_norm, average=True)
        self.head = nn.Sequential(deeplab.largefov_layers(12, width, batch_norm, dropout))
        self.local_norm, self.global_norm = L2Norm(channels), L2Norm(channels)
        self.score = nn.Conv2d(2 * channels, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) → scores (N, num_classes, H, W), for any H and W of at least 1."""
        features = self.head(self.backbone(x))
        everywhere = self.global_norm(F.mean(features, (2, 3), keepdim=True))
        context = broadcast_to(everywhere, features.shape)
        scores = self.score(F.cat([self.local_norm(features), context], 1))
        return deeplab.upsample_from_corner(scores, x)


parsenet = register("segmentation", source="Liu et al. 2016", name="parsenet")(ParseNet)
