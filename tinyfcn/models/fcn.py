"""FCN-32s, FCN-16s and FCN-8s: a classifier's trunk, made to label every pixel.

Source: Long, Shelhamer, Darrell: Fully convolutional networks for semantic segmentation (CVPR 2015;
TPAMI 2017), sections 3 and 4. The layers have the names of the published networks.

The trunk ends at 1/32 of the image's size. fc6 and fc7, the classifier's fully connected layers,
become convolutions; score_fr (1 × 1) gives a score per class; a transposed convolution enlarges the
scores 32 times: FCN-32s. Its outlines are coarse, so FCN-16s enlarges only 2 times, adds scores
made from pool4, whose pixels are half as large, and then enlarges 16 times. FCN-8s does the same
once more, with pool3.

    pool5 → fc6 → fc7 → score_fr → upscore2 → ⊕ → upscore_pool4 → ⊕ → upscore8 → crop
    pool4 → score_pool4 ─────────────────────┘                    │
    pool3 → score_pool3 ──────────────────────────────────────────┘

Maps that are added must show the same place at the same pixel; ``geometry`` says how that is done:

``"aligned"`` (the default): fc6 is padded to keep its size, and enlarging f times has kernel 2f and
padding f / 2, which leaves every pixel centred where it belongs. No crop has to start anywhere but
at 0. Pooling rounds up, so that the enlarged map is never smaller than the finer one, whatever the
image's size: what is too much on the right and at the bottom is cut off.

``"reference"``: as published. conv1_1 is padded by 100, so that even one pixel fills fc6's 7 × 7
window; nothing after it is padded, and the maps are shifted against each other. The crops start at
offsets that :mod:`tinyfcn.models.geometry` derives from the layers. This fits the published
weights, and costs 1.8 times the arithmetic at 375 × 500.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from tinyfcn import functional as F
from tinyfcn import nn
from tinyfcn.functional.sizes import Pair
from tinyfcn.models.backbones.trunk import scaled
from tinyfcn.models.backbones.vgg import VGG16Trunk
from tinyfcn.models.geometry import IMAGE, CoordinateMap, coordinate_map, crop_offset
from tinyfcn.tensor import Tensor


class Skip(NamedTuple):
    """One fusion: enlarge the scores 2 times, then add those of a finer pooling."""

    upsample: str  # name of the transposed convolution
    score: str  # name of the 1 × 1 convolution
    pool: int  # which pooling it sees
    scale: float  # the fixed factor on that pooling where all skips are trained at once


SKIPS = {
    32: (),
    16: (Skip("upscore2", "score_pool4", 4, 0.01),),
    8: (
        Skip("upscore2", "score_pool4", 4, 0.01),
        Skip("upscore_pool4", "score_pool3", 3, 0.0001),
    ),
}
LAST = {32: "upscore", 16: "upscore16", 8: "upscore8"}
BACKBONES = {"vgg16": VGG16Trunk}
REFERENCE_PADDING = 100


class FCN(nn.Module):
    """A fully convolutional network of the given stride; made by :func:`fcn32s`, :func:`fcn16s` and
    :func:`fcn8s`, where the arguments are explained.

    Called on images (N, 3, H, W) it gives scores (N, num_classes, H, W).

    Attributes:
        backbone: the trunk; its keys are ``backbone.0.weight`` … as in ``features.0.weight`` of
            :func:`tinyfcn.models.vgg16`.
        fc6, fc7, score_fr, score_pool4, score_pool3: convolutions.
        upscore, upscore2, upscore_pool4, upscore16, upscore8: transposed convolutions that begin as
            bilinear interpolation, each class by itself. They are parameters, saved like any other,
            but frozen (``requires_grad`` is False) unless they are to be learned.
        offsets: where each crop starts, (row, column), by the name of the layer whose output it
            cuts.
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
        if backbone not in BACKBONES:
            known = ", ".join(BACKBONES)
            raise ValueError(f"{self.name}: backbone must be one of {known}, got {backbone!r}")
        if geometry not in ("aligned", "reference"):
            raise ValueError(
                f"{self.name}: geometry must be 'aligned' or 'reference', got {geometry!r}"
            )
        if num_classes < 1:
            raise ValueError(f"{self.name}: num_classes must be at least 1, got {num_classes}")
        self.num_classes, self.geometry, self.at_once = num_classes, geometry, at_once
        self.recompute = recompute
        self.skips, self.last = SKIPS[stride], LAST[stride]
        aligned = geometry == "aligned"

        hidden = scaled(4096, width)
        first_padding = 1 if aligned else REFERENCE_PADDING
        self.backbone = BACKBONES[backbone](width, batch_norm, True, first_padding)
        channels = self.backbone.channels
        self.fc6 = nn.Conv2d(channels[-1], hidden, 7, padding=3 if aligned else 0)
        self.fc7 = nn.Conv2d(hidden, hidden, 1)
        self.bn6: nn.Module = nn.BatchNorm2d(hidden) if batch_norm else nn.Identity()
        self.bn7: nn.Module = nn.BatchNorm2d(hidden) if batch_norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.score_fr = _scoring(hidden, num_classes)
        for skip in self.skips:
            setattr(self, skip.score, _scoring(channels[skip.pool - 1], num_classes))
            setattr(self, skip.upsample, _upsampling(num_classes, 2, aligned, learn_upsampling))
        setattr(self, self.last, _upsampling(num_classes, stride, aligned, learn_upsampling))
        self.offsets = self._derive_offsets()

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) → scores (N, num_classes, H, W), for any H and W of at least 1."""
        if x.ndim != 4 or x.shape[1] != 3:
            raise ValueError(f"{self.name}: expected images (N, 3, H, W), got shape {x.shape}")
        pools = self.backbone.features(x, self.recompute)
        y = self.dropout(F.relu(self.bn6(self.fc6(pools[-1]))))
        y = self.dropout(F.relu(self.bn7(self.fc7(y))))
        y = self.score_fr(y)
        for skip in self.skips:
            finer = pools[skip.pool - 1]
            if self.at_once:
                finer = finer * skip.scale
            y = getattr(self, skip.upsample)(y)
            y = _add_overlap(y, getattr(self, skip.score)(finer), self.offsets[skip.score])
        _, _, height, width = x.shape
        return F.crop(getattr(self, self.last)(y), self.offsets[self.last], (height, width))

    def load_coarser(self, state: Mapping[str, Any]) -> None:
        """Go on from the weights of the next coarser network: FCN-16s from FCN-32s, 8s from 16s.

        The trunk, fc6, fc7 and the scorings that both have are taken over. The new skip keeps the
        zero weights that it begins with, so it adds nothing until it has learned something, as in
        section 4.2 of the paper; upsampling begins as bilinear interpolation.

        Raises:
            ValueError: if anything else is missing or too much, or has another shape; nothing is
                changed then.
        """
        new = {skip.score for skip in self.skips} | {skip.upsample for skip in self.skips}
        upsampling = {*LAST.values(), *(skip.upsample for skip in SKIPS[8])}
        mine = self._state()
        kept = {k: v for k, v in mine.items() if k.split(".")[0] in new | upsampling}
        taken = {k: v for k, v in state.items() if k in mine or k.split(".")[0] not in upsampling}
        self.load_state_dict({**kept, **taken})

    def _derive_offsets(self) -> dict[str, Pair]:
        """Follow coordinates along every branch; where two meet, one crop makes them agree."""
        by_axis = [self._derive_offsets_along(axis) for axis in (0, 1)]
        return {name: (by_axis[0][name], by_axis[1][name]) for name in by_axis[0]}

    def _derive_offsets_along(self, axis: int) -> dict[str, int]:
        def follow(*layers: nn.Module, start: CoordinateMap = IMAGE) -> CoordinateMap:
            return coordinate_map(layers, axis, start)

        offsets = {}
        scores = follow(self.backbone.up_to(5), self.fc6, self.fc7, self.score_fr)
        for skip in self.skips:
            scores = follow(getattr(self, skip.upsample), start=scores)
            finer = follow(self.backbone.up_to(skip.pool), getattr(self, skip.score))
            offsets[skip.score] = crop_offset(finer, scores)
        scores = follow(getattr(self, self.last), start=scores)
        offsets[self.last] = crop_offset(scores, IMAGE)
        return offsets


def fcn32s(
    backbone: str = "vgg16",
    num_classes: int = 21,
    width: float = 1.0,
    batch_norm: bool = False,
    geometry: str = "aligned",
    at_once: bool = False,
    dropout: float = 0.5,
    learn_upsampling: bool = False,
    recompute: bool = False,
) -> FCN:
    """FCN-32s: images (N, 3, H, W) → scores (N, num_classes, H, W).

    Args:
        backbone: the trunk, "vgg16".
        num_classes: number of classes, background included.
        width: multiplies the numbers of channels of trunk, fc6 and fc7; 1/8 learns on a CPU.
        batch_norm: whether batch normalization follows every convolution of the trunk, fc6 and fc7.
            Recommended when training from scratch; published weights have none.
        geometry: "aligned" or "reference"; see the head of this file.
        at_once: multiply pool4 by 0.01 and pool3 by 0.0001, so that the gradients of all skips are
            of similar size and they can be trained together (TPAMI, "8s-at-once"). The factors suit
            the activations of published weights, which are in the hundreds; with batch_norm they
            would silence the skips.
        dropout: probability after fc6 and fc7.
        learn_upsampling: train the transposed convolutions too, instead of keeping them bilinear.
        recompute: keep little of the trunk for the backward pass and compute it again: less memory
            for large images, one more forward pass (:func:`tinyfcn.nn.recompute`).

    Raises:
        ValueError: naming the argument that does not fit.

    Example:
        >>> import numpy as np, tinyfcn
        >>> model = fcn32s(num_classes=3, width=1 / 64)
        >>> model(tinyfcn.tensor(np.zeros((1, 3, 33, 47), np.float32))).shape
        (1, 3, 33, 47)
    """
    return FCN(
        32, backbone, num_classes, width, batch_norm, geometry, at_once, dropout, learn_upsampling,
        recompute,
    )  # fmt: skip


def fcn16s(
    backbone: str = "vgg16",
    num_classes: int = 21,
    width: float = 1.0,
    batch_norm: bool = False,
    geometry: str = "aligned",
    at_once: bool = False,
    dropout: float = 0.5,
    learn_upsampling: bool = False,
    recompute: bool = False,
) -> FCN:
    """FCN-16s; the arguments are those of :func:`fcn32s`."""
    return FCN(
        16, backbone, num_classes, width, batch_norm, geometry, at_once, dropout, learn_upsampling,
        recompute,
    )  # fmt: skip


def fcn8s(
    backbone: str = "vgg16",
    num_classes: int = 21,
    width: float = 1.0,
    batch_norm: bool = False,
    geometry: str = "aligned",
    at_once: bool = False,
    dropout: float = 0.5,
    learn_upsampling: bool = False,
    recompute: bool = False,
) -> FCN:
    """FCN-8s; the arguments are those of :func:`fcn32s`.

    Example:
        >>> fcn8s(num_classes=2, width=1 / 64, geometry="reference").offsets
        {'score_pool4': (5, 5), 'score_pool3': (9, 9), 'upscore8': (31, 31)}
    """
    return FCN(
        8, backbone, num_classes, width, batch_norm, geometry, at_once, dropout, learn_upsampling,
        recompute,
    )  # fmt: skip


def _scoring(channels: int, num_classes: int) -> nn.Conv2d:
    """A 1 × 1 convolution of zeros: every class begins equally likely (section 4.3)."""
    layer = nn.Conv2d(channels, num_classes, 1)
    nn.init.zeros_(layer.weight)
    return layer


def _upsampling(num_classes: int, factor: int, aligned: bool, learned: bool) -> nn.ConvTranspose2d:
    """Bilinear enlargement by ``factor``, each class by itself (section 3.3)."""
    padding = factor // 2 if aligned else 0
    layer = nn.ConvTranspose2d(
        num_classes, num_classes, 2 * factor, factor, padding, groups=num_classes, bias=False
    )
    nn.init.bilinear_(layer.weight)
    layer.requires_grad_(learned)
    return layer


def _add_overlap(y: Tensor, finer: Tensor, offset: Pair) -> Tensor:
    """y + finer[offset:], over the pixels that both have."""
    height, width = (
        min(a, b - o) for a, b, o in zip(y.shape[2:], finer.shape[2:], offset, strict=True)
    )
    return F.crop(y, 0, (height, width)) + F.crop(finer, offset, (height, width))
