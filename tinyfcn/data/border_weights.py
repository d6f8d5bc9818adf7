"""Weights of pixels that make a network learn the narrow gaps between touching cells.

Source: Ronneberger, Fischer, Brox: U-Net (MICCAI 2015), section 3, equation 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt


def border_weights(
    cells: NDArray[Any],
    class_weights: tuple[float, float] = (1.0, 1.0),
    w0: float = 10.0,
    sigma: float = 5.0,
) -> NDArray[np.float32]:
    """How much each pixel should count in the loss.

    w(x) = w_c(x) + w0 · exp(−(d1(x) + d2(x))² / 2σ²)

    where d1 is the distance to the nearest cell and d2 that to the second nearest. The second term
    is added on the background only, where it is large in gaps, and 0 where there are fewer than two
    cells.

    Args:
        cells: (H, W), whole numbers: 0 is background, every other value is one cell.
        class_weights: w_c of background and cells, to balance their numbers of pixels.
        w0: weight of a gap of width 0, beside w_c.
        sigma: how fast it falls with the width, in pixels.

    Returns:
        The weights, float32 (H, W).

    Raises:
        ValueError, TypeError: naming the argument that does not fit.

    Example:
        >>> border_weights(np.array([[1, 0, 2, 0, 0, 0]])).round(2)
        array([[ 1.  , 10.23,  1.  ,  8.26,  5.87,  3.78]], dtype=float32)

        Into the loss they go pixel by pixel:

        >>> import tinyfcn, tinyfcn.functional as F
        >>> cells = np.array([[[1, 1, 0, 2]]])
        >>> weights = np.stack([border_weights(image) for image in cells])
        >>> logits = tinyfcn.tensor(np.zeros((1, 2, 1, 4), np.float32))
        >>> loss = F.cross_entropy(logits, (cells > 0).astype(int), reduction="none")
        >>> round((loss * weights).mean().item(), 3)
        2.293
    """
    if cells.ndim != 2 or cells.size == 0:
        raise ValueError(f"border_weights: cells must be (H, W), got shape {cells.shape}")
    if cells.dtype.kind not in "iu":
        raise TypeError(f"border_weights: cells must be whole numbers, got {cells.dtype}")
    if sigma <= 0:
        raise ValueError(f"border_weights: sigma must be above 0, got {sigma}")
    nearest = np.full(cells.shape, np.inf)
    second = np.full(cells.shape, np.inf)
    for cell in np.unique(cells[cells != 0]):
        distance = distance_transform_edt(cells != cell)
        second = np.minimum(second, np.maximum(nearest, distance))
        nearest = np.minimum(nearest, distance)
    gap = w0 * np.exp(-((nearest + second) ** 2) / (2 * sigma**2))
    background = cells == 0
    weights = np.where(background, class_weights[0] + gap, class_weights[1])
    return weights.astype(np.float32)
