"""The first idea one has: convolutions from the image to the scores, nothing ever made smaller.

    image → [3 × 3 convolution, ReLU] × 8 → 1 × 1 → scores

Every layer works at the image's full size, so a layer of 64 channels costs as much as one of 1024
at a sixteenth of it, and the receptive field hardly grows: 1 + 2·depth pixels, 17 for 8 layers.
What all the other networks here have in common is how they get around this: by making maps smaller
and larger again, or by dilation. ``examples/sliding_window.py`` measures it.
"""

from __future__ import annotations

from tinyfcn import nn
from tinyfcn.models.backbones.backbone import scaled, with_relu
from tinyfcn.models.network import SegmentationNetwork
from tinyfcn.models.registry import register
from tinyfcn.tensor import Tensor

__all__ = ["same_resolution"]

CHANNELS = 64


class SameResolution(SegmentationNetwork):
    """Convolutions without down-sampling: images (N, 3, H, W) → scores (N, num_classes, H, W).

    Args:
        num_classes: number of classes, background included.
        width: multiplies the 64 channels of every layer.
        batch_norm: whether batch normalization follows every 3 × 3 convolution.
        depth: number of 3 × 3 convolutions; the receptive field is 1 + 2 · depth pixels.

    Attributes:
        layers: the whole chain.

    Raises:
        ValueError: naming the argument that does not fit.

    Example:
        >>> from tinyfcn import models
        >>> models.geometry.receptive_field(same_resolution(depth=3).layers)
        (7, 1)
    """

    def __init__(
        self, num_classes: int = 21, width: float = 1.0, batch_norm: bool = False, depth: int = 8
    ) -> None:
        if depth < 1:
            raise ValueError(f"same_resolution: depth must be at least 1, got {depth}")
        channels = scaled(CHANNELS, width)
        layers: list[nn.Module] = []
        for i in range(depth):
            layers += with_relu(nn.Conv2d(channels if i else 3, channels, 3, padding=1), batch_norm)
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, num_classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) → scores (N, num_classes, H, W), for any H and W of at least 1."""
        return self.layers(x)


same_resolution = register("segmentation", "for comparison", name="same_resolution")(SameResolution)
