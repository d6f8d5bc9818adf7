"""A ResNet of output stride 8 with a head on layer4, and one on layer3 for learning: torchvision's
segmentation networks and PSPNet.

    image → ResNet, output stride 8 → layer4 → head → upsample 8 times → "out"
                                      layer3 → head → upsample 8 times → "aux"

The second head brings a gradient to the middle of the backbone. It takes no part in the answer.
"""

from __future__ import annotations

from collections.abc import Callable

from tinyfcn import functional as F
from tinyfcn import nn
from tinyfcn.models.backbones.backbone import scaled, with_relu
from tinyfcn.models.backbones.resnet import ResNetBackbone
from tinyfcn.models.network import SegmentationNetwork
from tinyfcn.models.registry import SGD
from tinyfcn.tensor import Tensor

TRAINING = SGD | {
    "lr": 0.02, "weight_decay": 1e-4, "schedule": "poly", "epochs": 30, "batch_size": 4,
    "accumulate": 8, "crop": 480, "jitter": 0.5, "preprocessing": "torchvision",
}  # fmt: skip


class FCNHead(nn.Sequential):
    """3 × 3 convolution to C / reduction channels, then scores: (N, C, h, w) → (N, K, h, w)."""

    def __init__(self, in_channels: int, num_classes: int, reduction: int = 4) -> None:
        between = scaled(in_channels, 1 / reduction)
        hidden = with_relu(nn.Conv2d(in_channels, between, 3, padding=1, bias=False))
        super().__init__(*hidden, nn.Dropout(0.1), nn.Conv2d(between, num_classes, 1))


class DilatedResNet(SegmentationNetwork):
    """A ResNet of output stride 8 with a head on layer4, and one on layer3 for learning.

    Called on images (N, 3, H, W) it gives scores (N, num_classes, H, W), in training too;
    :meth:`outputs` gives those of both heads.

    Args:
        depth: of the ResNet, 50 or 101.
        num_classes: number of classes, background included.
        width: multiplies all other numbers of channels.
        aux_loss: whether to have the second head.
        head: makes the first one for a number of channels and one of classes: layer4's map
            (N, C, h, w) → scores (N, num_classes, h, w).
        aux_weight: what the loss of "aux" counts beside that of "out".

    Attributes:
        backbone, classifier, aux_classifier: the ResNet and the heads; the last may be None.
        auxiliary: the weights of auxiliary losses, by name: {"aux": aux_weight}, or empty.
    """

    def __init__(
        self,
        depth: int,
        num_classes: int,
        width: float,
        aux_loss: bool,
        head: Callable[[int, int], nn.Module] = FCNHead,
        aux_weight: float = 0.5,
    ) -> None:
        self.backbone = ResNetBackbone(depth, width, output_stride=8)
        *_, middle, last = self.backbone.channels
        self.classifier = head(last, num_classes)
        self.aux_classifier = FCNHead(middle, num_classes) if aux_loss else None
        self.auxiliary = {"aux": aux_weight} if aux_loss else {}

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) → scores (N, num_classes, H, W)."""
        return self._scores(x, self.classifier, self.backbone.features(x)[-1])

    def outputs(self, x: Tensor) -> dict[str, Tensor]:
        """The scores of both heads, "out" and (if there is one) "aux", each (N, num_classes, H, W).

        The published training minimizes the loss of "out" plus 0.5 times that of "aux", as
        :func:`tinyfcn.training.objective.total_loss` does:

        Example:
            >>> import numpy as np, tinyfcn
            >>> import tinyfcn.functional as F
            >>> model = tinyfcn.models.fcn_resnet50(num_classes=3, width=1 / 32)
            >>> images = tinyfcn.tensor(np.zeros((2, 3, 32, 32), np.float32))
            >>> labels = np.zeros((2, 32, 32), np.int64)
            >>> scores = model.outputs(images)
            >>> loss = F.cross_entropy(scores["out"], labels)
            >>> loss = loss + 0.5 * F.cross_entropy(scores["aux"], labels)
        """
        self.check_images(x)
        features = self.backbone.features(x)
        scores = {"out": self._scores(x, self.classifier, features[-1])}
        if self.aux_classifier is not None:
            scores["aux"] = self._scores(x, self.aux_classifier, features[-2])
        return scores

    @staticmethod
    def _scores(x: Tensor, head: nn.Module, features: Tensor) -> Tensor:
        _, _, height, width = x.shape
        return F.interpolate(head(features), (height, width), mode="bilinear")
