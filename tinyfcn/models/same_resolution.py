"""The first idea one has: convolutions from the image to the scores, nothing ever made smaller.

    image → [3 × 3 convolution, ReLU] × 8 → 1 × 1 → scores

Every layer works at the image's full size, so a layer of 64 channels costs as much as one of 1024
at a sixteenth of it, and sees hardly more than the one before: 1 + 2·depth pixels, 17 for 8 layers.
What all the other networks here have in common is how they get around this: by making maps smaller
and larger again, or by dilation. ``examples/sliding_window.py`` measures it.
"""

from __future__ import annotations

from tinyfcn import nn
from tinyfcn.models.arguments import check_images
from tinyfcn.models.backbones.trunk import scaled
from tinyfcn.models.registry import register
from tinyfcn.tensor import Tensor

__all__ = ["same_resolution"]

CHANNELS = 64


class SameResolution(nn.Module):
    """The network; made by :func:`same_resolution`, where the arguments are explained.

    Attributes:
        layers: the whole chain.
    """

    def __init__(self, num_classes: int, width: float, batch_norm: bool, depth: int) -> None:
        if depth < 1:
            raise ValueError(f"same_resolution: depth must be at least 1, got {depth}")
        self.num_classes = num_classes
        channels = scaled(CHANNELS, width)
        layers: list[nn.Module] = []
        for i in range(depth):
            layers.append(nn.Conv2d(channels if i else 3, channels, 3, padding=1))
            if batch_norm:
                layers.append(nn.BatchNorm2d(channels))
            layers.append(nn.ReLU())
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, num_classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) → scores (N, num_classes, H, W), for any H and W of at least 1."""
        check_images("same_resolution", x)
        scores: Tensor = self.layers(x)
        return scores


@register("segmentation", source="for comparison")
def same_resolution(
    num_classes: int = 21, width: float = 1.0, batch_norm: bool = False, depth: int = 8
) -> SameResolution:
    """Convolutions without down-sampling: images (N, 3, H, W) → scores (N, num_classes, H, W).

    Args:
        num_classes: number of classes, background included.
        width: multiplies the 64 channels of every layer.
        batch_norm: whether batch normalization follows every 3 × 3 convolution.
        depth: number of 3 × 3 convolutions; a score sees 1 + 2 · depth pixels.

    Raises:
        ValueError: naming the argument that does not fit.

    Example:
        >>> from tinyfcn import models
        >>> models.geometry.receptive_field(same_resolution(depth=3).layers)
        (7, 1)
    """
    return SameResolution(num_classes, width, batch_norm, depth)
