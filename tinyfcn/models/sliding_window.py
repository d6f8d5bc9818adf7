"""A classifier run once for every pixel, on the window around it: what came before the FCN.

Source: Cireşan, Giusti, Gambardella, Schmidhuber: Deep neural networks segment neuronal membranes
in electron microscopy images (NIPS 2012), section 2. As there, the image is mirrored beyond its
borders, so that pixels at the edge have a whole window too.

The windows of neighbouring pixels are nearly the same, and everything about the shared part is
computed again for each. ``examples/sliding_window.py`` measures what that costs.
"""

from __future__ import annotations

import numpy as np

from tinyfcn import backend, nn
from tinyfcn import functional as F
from tinyfcn.functional.sizes import at_least_one
from tinyfcn.models.backbones.backbone import scaled, with_relu
from tinyfcn.models.mirror import mirror
from tinyfcn.models.network import SegmentationNetwork
from tinyfcn.models.registry import register
from tinyfcn.tensor import Tensor

__all__ = ["sliding_window"]

WINDOW = 29


class SlidingWindow(SegmentationNetwork):
    """Labels every pixel by what a classifier says about the window that has it in the middle.

    Args:
        classifier: windows (M, C, window, window) → scores (M, num_classes).
        window: side of a window, odd, so that it has a middle.
        pixels_at_once: so many windows of each image are classified together.

    Raises:
        ValueError: naming the argument that does not fit.

    Example:
        >>> import tinyfcn
        >>> from tinyfcn import nn
        >>> classifier = nn.Sequential(nn.Flatten(), nn.Linear(3 * 5 * 5, 2))
        >>> images = tinyfcn.tensor(np.zeros((1, 3, 4, 7), np.float32))
        >>> SlidingWindow(classifier, window=5)(images).shape
        (1, 2, 4, 7)
    """

    def __init__(self, classifier: nn.Module, window: int, pixels_at_once: int = 512) -> None:
        if window < 1 or window % 2 == 0:
            raise ValueError(f"SlidingWindow: window must be odd, got {window}")
        at_least_one("SlidingWindow", pixels_at_once=pixels_at_once)
        self.classifier, self.side, self.pixels_at_once = classifier, window, pixels_at_once

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) → scores (N, num_classes, H, W), for any H and W of at least 1."""
        n, c, height, width = x.shape
        x = mirror(x, (self.side // 2,) * 4)
        parts = []
        for start in range(0, height * width, self.pixels_at_once):
            pixels = np.arange(start, min(start + self.pixels_at_once, height * width))
            scores = self.classifier(self._windows(x, pixels // width, pixels % width))
            parts.append(scores.reshape(len(pixels), n, -1))
        scores = F.cat(parts, 0).permute(1, 2, 0)  # (H · W, N, classes) → (N, classes, H · W)
        return scores.reshape(n, scores.shape[1], height, width)

    def _windows(self, x: Tensor, top: np.ndarray, left: np.ndarray) -> Tensor:
        """(N, C, …) and P corners → (P · N, C, window, window), the images of a corner together."""
        n, c = x.shape[:2]
        steps = np.arange(self.side)
        asarray = backend.active().xp.asarray
        rows = asarray((top[:, None] + steps)[:, :, None])  # (P, window, 1)
        columns = asarray((left[:, None] + steps)[:, None, :])  # (P, 1, window)
        windows = x[:, :, rows, columns]  # (N, C, P, window, window)
        return windows.permute(2, 0, 1, 3, 4).reshape(len(top) * n, c, self.side, self.side)


@register("segmentation", source="Cireşan et al. 2012")
def sliding_window(num_classes: int = 21, width: float = 1.0) -> SlidingWindow:
    """A small classifier of 29 × 29 windows, slid over the image: images (N, 3, H, W) → scores (N,
    num_classes, H, W).

    Args:
        num_classes: number of classes, background included.
        width: multiplies all other numbers of channels.

    Raises:
        ValueError: naming the argument that does not fit.
    """
    first, second, hidden = (scaled(n, width) for n in (32, 64, 256))
    classifier = nn.Sequential(
        *with_relu(nn.Conv2d(3, first, 4), False),  # 29 → 26
        nn.MaxPool2d(2),
        *with_relu(nn.Conv2d(first, second, 4), False),  # 13 → 10
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(second * 5 * 5, hidden),
        nn.ReLU(),
        nn.Linear(hidden, num_classes),
    )
    return SlidingWindow(classifier, WINDOW)
