"""torchvision's DeepLabv3 on ResNet: one map at several scales, by dilation.

The backbone and the second head are those of ``dilated_resnet.py``. The head on layer4 looks at the
map in five ways at once (atrous spatial pyramid pooling, ASPP): pixel by pixel, through 3 × 3
windows that are spread by rates 12, 24 and 36, and as a whole; then it joins what each of them
found.

    layer4 ─┬─ 1 × 1 ──────────────────┐
            ├─ 3 × 3, dilation 12 ─────┤
            ├─ 3 × 3, dilation 24 ─────┼─ cat → 1 × 1 → 3 × 3 → scores
            ├─ 3 × 3, dilation 36 ─────┤
            └─ global mean → 1 × 1 ────┘

Source: Chen, Papandreou, Schroff, Adam: Rethinking atrous convolution for semantic image
segmentation (2017), section 3.3; torchvision.models.segmentation, whose keys and shapes these are.
42,004,074 parameters with ResNet-50, 60,996,202 with ResNet-101.
"""

from __future__ import annotations

from functools import partial

from tinyfcn import functional as F
from tinyfcn import nn
from tinyfcn.models.backbones.backbone import scaled, with_relu
from tinyfcn.models.dilated_resnet import TRAINING, DilatedResNet
from tinyfcn.models.registry import member, register
from tinyfcn.tensor import Tensor

__all__ = ["deeplabv3_resnet50", "deeplabv3_resnet101"]

RATES = (12, 24, 36)  # dilations of the 3 × 3 views: those of the paper for output stride 8


def _conv(in_channels: int, channels: int, kernel: int, rate: int = 1) -> list[nn.Module]:
    """Convolution that keeps the size, batch normalization, ReLU."""
    padding = rate * (kernel // 2)
    return with_relu(nn.Conv2d(in_channels, channels, kernel, 1, padding, rate, bias=False))


class ASPPPooling(nn.Sequential):
    """The mean over the map, a 1 × 1 convolution of it, spread over the map again."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), *_conv(in_channels, out_channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) → (N, out_channels, h, w), the same everywhere."""
        _, _, height, width = x.shape
        return F.interpolate(super().forward(x), (height, width), mode="bilinear")


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: (N, C, h, w) → (N, out_channels, h, w).

    Args:
        in_channels, out_channels: numbers of channels; each of the five views has the latter.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        views = [_conv(in_channels, out_channels, 1)]
        views += [_conv(in_channels, out_channels, 3, rate) for rate in RATES]
        self.convs = nn.ModuleList(nn.Sequential(*view) for view in views)
        self.convs.append(ASPPPooling(in_channels, out_channels))
        together = _conv(len(self.convs) * out_channels, out_channels, 1)
        self.project = nn.Sequential(*together, nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        """All views of x, joined."""
        return self.project(F.cat([view(x) for view in self.convs], 1))


class DeepLabHead(nn.Sequential):
    """ASPP, a 3 × 3 convolution, scores: (N, C, h, w) → (N, num_classes, h, w)."""

    def __init__(self, in_channels: int, num_classes: int, channels: int = 256) -> None:
        views, joined = ASPP(in_channels, channels), _conv(channels, channels, 3)
        super().__init__(views, *joined, nn.Conv2d(channels, num_classes, 1))


def _deeplabv3_resnet(
    depth: int, num_classes: int = 21, width: float = 1.0, aux_loss: bool = True
) -> DilatedResNet:
    """torchvision's DeepLabv3 on ResNet: images (N, 3, H, W) → scores (N, num_classes, H, W).

    Args:
        num_classes: number of classes, background included.
        width: multiplies all other numbers of channels.
        aux_loss: whether to have the second head, as the published weights do.

    Returns:
        A network as of :func:`tinyfcn.models.fcn_resnet50`. In training it needs two images at a
        time, because the global mean leaves one number per image and channel to normalize.

    Raises:
        ValueError: naming the argument that does not fit.

    Example:
        >>> import numpy as np, tinyfcn
        >>> model = deeplabv3_resnet50(num_classes=3, width=1 / 32).eval()
        >>> model(tinyfcn.tensor(np.zeros((1, 3, 33, 47), np.float32))).shape
        (1, 3, 33, 47)
    """
    head = partial(DeepLabHead, channels=scaled(256, width))
    return DilatedResNet(depth, num_classes, width, aux_loss, head)


_network = partial(register, "segmentation", "Chen et al. 2017", [TRAINING])
deeplabv3_resnet50 = _network(name="deeplabv3_resnet50")(member(_deeplabv3_resnet, 50))
deeplabv3_resnet101 = _network(name="deeplabv3_resnet101")(member(_deeplabv3_resnet, 101))
