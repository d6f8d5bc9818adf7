"""FCN-32s, FCN-16s and FCN-8s: a classifier's backbone, made to label every pixel.

Source: Long, Shelhamer, Darrell: Fully convolutional networks for semantic segmentation (CVPR 2015;
TPAMI 2017), sections 3 and 4. The layers have the names of the published networks.

The backbone ends at 1/32 of the image's size. fc6 and fc7, the classifier's fully connected layers,
become convolutions; score_fr (1 × 1) gives a score per class; a transposed convolution upsamples
the scores 32 times: FCN-32s. Its outlines are coarse, so FCN-16s upsamples only 2 times, adds
scores made from pool4, whose pixels are half as large, and then upsamples 16 times. FCN-8s does the
same once more, with pool3.

    pool5 → fc6 → fc7 → score_fr → upscore2 → ⊕ → upscore_pool4 → ⊕ → upscore8 → crop
    pool4 → score_pool4 ─────────────────────┘                    │
    pool3 → score_pool3 ──────────────────────────────────────────┘

Maps that are added must show the same place at the same pixel; ``geometry`` says how that is done:

``"aligned"`` (the default): fc6 is padded to keep its size, and upsampling f times has kernel 2f
and padding f / 2, which leaves every pixel centred where it belongs. No crop has to start anywhere
but at 0. Pooling rounds up, so that the upsampled map is never smaller than the finer one, whatever
the image's size: what is too much on the right and at the bottom is cut off.

The other backbones have odd windows, where VGG's poolings are even. Padded by half of them, they
centre pixel i of a map of stride s on pixel s · i of the image, and upsampling has an odd kernel,
2f − 1, that leaves it there. The last row of scores is then up to f − 1 pixels away from the
border; it is repeated once, so that these pixels are interpolated too. Only AlexNet's fc6 is even,
6 × 6: padded by 3 it gives one row of scores more, half a step further out on both sides, and the
crop starts at 31. GoogLeNet and ResNet have no hidden fully connected layers, so neither has an FCN
made of them.

``"reference"``: as published. conv1_1 is padded by 100, so that even one pixel fills fc6's 7 × 7
window; nothing after it is padded, and the maps are shifted against each other. The crops start at
offsets that :mod:`tinyfcn.models.geometry` derives from the layers. This fits the published
weights, and costs 1.8 times the arithmetic at 375 × 500. It exists for VGG, and as FCN-32s for
AlexNet and CaffeNet, whose scores lie between the pixels for a kernel of 64, so that it is 63.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from tinyfcn import functional as F
from tinyfcn import nn
from tinyfcn.functional.sizes import Pair, smaller
from tinyfcn.models.backbones.alexnet import AlexNetBackbone, CaffeNetBackbone
from tinyfcn.models.backbones.backbone import Backbone, check_choice, rectified, scaled
from tinyfcn.models.backbones.googlenet import GoogLeNetBackbone
from tinyfcn.models.backbones.resnet import ResNetBackbone
from tinyfcn.models.backbones.vgg import VGGBackbone
from tinyfcn.models.geometry import SIDE, crop_offsets
from tinyfcn.models.network import GEOMETRIES, SegmentationNetwork
from tinyfcn.models.registry import SGD, member, register
from tinyfcn.receptive_field_rules import ReceptiveFields
from tinyfcn.tensor import Tensor
from tinyfcn.without_values import empty_images, without_values

__all__ = ["FCN", "fcn8s", "fcn16s", "fcn32s"]


class Skip(NamedTuple):
    """One fusion: upsample the scores 2 times, then add those of a finer pooling."""

    upsample: str  # name of the transposed convolution
    score: str  # name of the 1 × 1 convolution
    pool: int  # the pooling that it scores
    scale: float  # the fixed factor on that pooling where all skips are trained at once


POOL4 = Skip("upscore2", "score_pool4", 4, 0.01)
POOL3 = Skip("upscore_pool4", "score_pool3", 3, 0.0001)
SKIPS = {32: (), 16: (POOL4,), 8: (POOL4, POOL3)}
LAST = {32: "upscore", 16: "upscore16", 8: "upscore8"}

REFERENCE_PADDING = 100

# The reference FCNs' "heavy learning": one image at a time, the loss summed over its pixels, which
# is why the learning rates are so small.
HEAVY = SGD | {
    "geometry": "reference", "iterations": 100_000, "batch_size": 1, "flip": False,
    "momentum": 0.99, "bias_lr": 2.0, "loss_reduction": "sum",
}  # fmt: skip
ALEXNET = HEAVY | {
    "lr": 1e-4, "momentum": 0.9, "accumulate": 20, "bias_lr": 1.0, "loss_reduction": "mean",
}  # fmt: skip


def _vgg(depth: int, width: float, batch_norm: bool, aligned: bool) -> Backbone:
    return VGGBackbone(width, batch_norm, True, 1 if aligned else REFERENCE_PADDING, depth)


def _alexnet(
    kind: type[AlexNetBackbone | CaffeNetBackbone], width: float, batch_norm: bool, aligned: bool
) -> Backbone:
    if aligned:
        return kind(width, batch_norm, ceil_mode=False, first_padding=5, pool_padding=1)
    return kind(width, batch_norm, ceil_mode=True, first_padding=REFERENCE_PADDING)


def _googlenet(width: float, batch_norm: bool, aligned: bool) -> Backbone:
    return GoogLeNetBackbone(width, "torchvision" if batch_norm else "bvlc", centred=True)


def _resnet(depth: int, width: float, batch_norm: bool, aligned: bool) -> Backbone:
    return ResNetBackbone(depth, width)


class Classifier(NamedTuple):
    """What an FCN has to know about the classifier that it is made of."""

    backbone: Callable[[float, bool, bool], Backbone]  # of width, batch_norm, aligned
    # Side of fc6's window; 0 where no hidden fully connected layers are, and no FCN was published.
    fc6: int = 0
    skips: bool = True  # whether there is an FCN-16s and an FCN-8s
    centred: bool = True  # whether all windows but fc6's are odd
    dropout: bool = True  # whether the classifier has any


BACKBONES = {
    **{f"vgg{d}": Classifier(partial(_vgg, d), 7, centred=False) for d in (16, 11, 13, 19)},
    "alexnet": Classifier(partial(_alexnet, AlexNetBackbone), 6, skips=False),
    "caffenet": Classifier(partial(_alexnet, CaffeNetBackbone), 6, skips=False),
    "googlenet": Classifier(_googlenet),
    **{f"resnet{d}": Classifier(partial(_resnet, d), dropout=False) for d in (18, 34, 50, 101)},
}


class FCN(SegmentationNetwork):
    """FCN-32s, FCN-16s or FCN-8s: images (N, 3, H, W) → scores (N, num_classes, H, W).

    Args:
        stride: 32, 16 or 8; :func:`fcn32s`, :func:`fcn16s` and :func:`fcn8s` give it.
        backbone: of which classifier, one of "vgg11", "vgg13", "vgg16", "vgg19", "googlenet",
            "resnet18", "resnet34", "resnet50" and "resnet101"; for FCN-32s also "caffenet", the
            published FCN-AlexNet, and "alexnet", torchvision's.
        num_classes: number of classes, background included.
        width: multiplies the numbers of channels of backbone, fc6 and fc7; 1/8 learns on a CPU.
        batch_norm: whether batch normalization follows every convolution of the backbone, fc6 and
            fc7. Recommended when training from scratch; published weights have none. GoogLeNet has
            torchvision's form with it and BVLC's without; ResNet always has it.
        geometry: "aligned" or "reference"; see the head of this file. Nothing is published for
            "googlenet" and the ResNets.
        at_once: multiply pool4 by 0.01 and pool3 by 0.0001, so that the gradients of all skips are
            of similar size and they can be trained together (TPAMI, "8s-at-once"). The factors suit
            the activations of published weights, which are in the hundreds; with batch_norm they
            would silence the skips.
        dropout: probability after fc6 and fc7, or before GoogLeNet's scores; ResNet has none.
        learn_upsampling: train the transposed convolutions too, instead of keeping them bilinear.
        recompute: keep little of the backbone for the backward pass and compute it again: less
            memory for large images, one more forward pass (:func:`tinyfcn.nn.recompute`).

    Attributes:
        backbone: its keys are ``backbone.0.weight`` … as in ``features.0.weight`` of
            :func:`tinyfcn.models.vgg16`, or ``backbone.conv1.weight`` … as in ``conv1.weight`` of
            the other classifiers.
        fc6, fc7, score_fr, score_pool4, score_pool3: convolutions. GoogLeNet and ResNet have no
            fc6 and fc7, and for "pool4" and "pool3" their last maps of stride 16 and 8. The scores
            begin random: from zero, nothing below them learns in the first step. The paper's zero
            is for a backbone that is trained already; ``copy_matching`` sees to that.
        upscore, upscore2, upscore_pool4, upscore16, upscore8: transposed convolutions that begin as
            bilinear interpolation, each class by itself. They are parameters, saved like any other,
            but frozen (``requires_grad`` is False) unless they are to be learned.
        offsets: where each crop starts, (row, column), by the name of the layer whose output it
            cuts.

    Raises:
        ValueError: naming the argument that does not fit.

    Example:
        >>> import numpy as np, tinyfcn
        >>> model = fcn8s(num_classes=3, width=1 / 64, geometry="reference")
        >>> model(tinyfcn.tensor(np.zeros((1, 3, 33, 47), np.float32))).shape
        (1, 3, 33, 47)
        >>> model.offsets
        {'score_pool4': (5, 5), 'score_pool3': (9, 9), 'upscore8': (31, 31)}
    """

    def __init__(
        self,
        stride: int,
        backbone: str = "vgg16",
        num_classes: int = 21,
        width: float = 1.0,
        batch_norm: bool = False,
        geometry: str = "aligned",
        at_once: bool = False,
        dropout: float = 0.5,
        learn_upsampling: bool = False,
        recompute: bool = False,
    ) -> None:
        self.name = f"fcn{stride}s"
        _check(self.name, stride, backbone, geometry)
        self.num_classes, self.geometry, self.at_once = num_classes, geometry, at_once
        self.recompute = recompute
        self.skips, self.last = SKIPS[stride], LAST[stride]
        self.scoring = ("score_fr", *(skip.score for skip in self.skips))
        kind, aligned = BACKBONES[backbone], geometry == "aligned"
        self.repeats_last = kind.centred and not kind.fc6

        self.backbone = kind.backbone(width, batch_norm, aligned)
        channels = self.backbone.channels
        hidden = channels[-1]
        if kind.fc6:
            hidden = scaled(4096, width)
            padding = kind.fc6 // 2 if aligned else 0
            self.fc6 = nn.Conv2d(channels[-1], hidden, kind.fc6, padding=padding)
            self.fc7 = nn.Conv2d(hidden, hidden, 1)
            self.bn6: nn.Module = nn.BatchNorm2d(hidden) if batch_norm else nn.Identity()
            self.bn7: nn.Module = nn.BatchNorm2d(hidden) if batch_norm else nn.Identity()
        self.dropout = nn.Dropout(dropout if kind.dropout else 0.0)
        self.score_fr = _scoring(hidden, num_classes)

        def upsampling(factor: int) -> nn.ConvTranspose2d:
            """Bilinear at first, each class by itself (section 3.3)."""
            kernel = 2 * factor - 1 if kind.centred else 2 * factor
            padding = 0
            if aligned:
                padding = factor - 1 if self.repeats_last else factor // 2
            layer = nn.ConvTranspose2d(
                num_classes, num_classes, kernel, factor, padding, groups=num_classes, bias=False
            )
            nn.init.bilinear_(layer.weight)
            return layer.requires_grad_(learn_upsampling)

        for skip in self.skips:
            setattr(self, skip.score, _scoring(channels[skip.pool - 1], num_classes))
            setattr(self, skip.upsample, upsampling(2))
        setattr(self, self.last, upsampling(stride))
        self.offsets: dict[str, Pair] = {}
        images = empty_images(self, (1, 3, SIDE, SIDE))
        with without_values(self), ReceptiveFields(images) as fields:
            self._scores(images, fields)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) → scores (N, num_classes, H, W), for any H and W of at least 1."""
        return self._scores(x)

    def _scores(self, x: Tensor, fields: ReceptiveFields | None = None) -> Tensor:
        """The scores; with ``fields`` the offsets are found out first. Every branch has moved the
        coordinates in its own way; where two meet, one crop makes them agree."""

        def offset(name: str, larger: Tensor, smaller: Tensor) -> Pair:
            if fields:
                self.offsets[name] = crop_offsets(fields.of(larger), fields.of(smaller))
            return self.offsets[name]

        pools = self.backbone.features(x, self.recompute)
        y = self.score_fr(self._hidden(pools[-1]))
        for skip in self.skips:
            finer = pools[skip.pool - 1]
            if self.at_once:
                finer = finer * skip.scale
            finer = getattr(self, skip.score)(finer)
            y = self._upsample(skip.upsample, y)
            y = _add_overlap(y, finer, offset(skip.score, finer, y))
        y = self._upsample(self.last, y)
        _, _, height, width = x.shape
        return F.crop(y, offset(self.last, y, x), (height, width))

    def _hidden(self, x: Tensor) -> Tensor:
        """The classifier's layers between backbone and scores."""
        if hasattr(self, "fc6"):
            x = self.dropout(rectified(self.fc6, self.bn6, x))
            x = rectified(self.fc7, self.bn7, x)
        return self.dropout(x)

    def _upsample(self, name: str, y: Tensor) -> Tensor:
        """Through the transposed convolution of that name."""
        if self.repeats_last:
            y = F.pad(y, (0, 1, 0, 1), "replicate")
        larger: Tensor = getattr(self, name)(y)
        return larger


_network = partial(register, "segmentation", "Long et al. 2015")
fcn32s = _network(
    presets=[HEAVY | {"lr": 1e-10}, *(ALEXNET | {"backbone": b} for b in ("alexnet", "caffenet"))],
    forms=[{}, {"backbone": "caffenet"}, {"backbone": "googlenet"}],
    name="fcn32s",
)(member(FCN, 32))
fcn16s = _network(presets=[HEAVY | {"lr": 1e-12}], name="fcn16s")(member(FCN, 16))
fcn8s = _network(
    presets=[
        HEAVY | {"lr": 1e-14},
        HEAVY | {"at_once": True, "lr": 1e-10, "iterations": 300_000},
    ],
    forms=[{}, {"geometry": "reference"}, {"backbone": "resnet50"}],
    name="fcn8s",
)(member(FCN, 8))


def _check(name: str, stride: int, backbone: str, geometry: str) -> None:
    check_choice(name, "backbone", backbone, BACKBONES)
    if stride != 32 and not BACKBONES[backbone].skips:
        raise ValueError(f"{name}: there is no {name} with backbone {backbone!r}, only fcn32s")
    check_choice(name, "geometry", geometry, GEOMETRIES)
    if geometry == "reference" and not BACKBONES[backbone].fc6:
        raise ValueError(
            f"{name}: geometry must be 'aligned' with backbone {backbone!r}, since nothing is "
            "published to refer to, got 'reference'"
        )


def _scoring(channels: int, num_classes: int) -> nn.Conv2d:
    """A 1 × 1 convolution, drawn as PyTorch does: with a sixth of the variance that goes before a
    ReLU, since their sum goes into a softmax, which should not be sure of anything yet."""
    layer = nn.Conv2d(channels, num_classes, 1)
    nn.init.kaiming_uniform_(layer.weight, 5**0.5)
    return layer


def _add_overlap(y: Tensor, finer: Tensor, offset: Pair) -> Tensor:
    """y + finer[offset:], over the pixels that both have."""
    height, width = (
        smaller(a, b - o) for a, b, o in zip(y.shape[2:], finer.shape[2:], offset, strict=True)
    )
    return F.crop(y, 0, (height, width)) + F.crop(finer, offset, (height, width))
