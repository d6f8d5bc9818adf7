"""Prediction of large images tile by tile, without seams.

Source: Ronneberger, Fischer, Brox: U-Net (MICCAI 2015), section 2 and figure 2.

A score depends on the pixels around it. So every tile is computed from a window that is larger than
the tile by a margin on each side; windows overlap, tiles do not. Beyond the image's border the
window shows the image mirrored. Beside image and scores, memory depends on the tile alone.
"""

from __future__ import annotations

from itertools import product

from tinyfcn import backend
from tinyfcn.models.network import as_network
from tinyfcn.nn import Module
from tinyfcn.tensor import Array, Tensor
from tinyfcn.without_values import evaluating


def overlap_tile(model: Module, images: Tensor, tile: int = 388, margin: int = 92) -> Tensor:
    """The scores of a model for images of any size, computed tile by tile.

    Args:
        model: gives for a window of tile + 2 · margin pixels scores of either the tile alone, as
            U-Net without padding does, or of the whole window, of which the margin is thrown away.
            It runs as ``model.eval()`` and is left in the mode it was in.
        images: (N, C, H, W), H and W of at least 1.
        tile: side of a tile, in pixels; for U-Net 16·b + 4.
        margin: how far beyond a tile the model looks; 92 for U-Net.

    Returns:
        Scores (N, num_classes, H, W), without a graph. Where the model looks no further than the
        margin and tile is a multiple of its stride, they are those of the whole image, mirrored
        beyond its border, in one pass.

    Raises:
        ValueError: naming the argument that does not fit.

    Example:
        >>> import numpy as np, tinyfcn
        >>> model = tinyfcn.models.unet(in_channels=1, width=1 / 64)
        >>> images = tinyfcn.tensor(np.zeros((1, 1, 50, 33), np.float32))
        >>> overlap_tile(model, images, tile=36).shape
        (1, 2, 50, 33)
    """
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"overlap_tile: images must be (N, C, H, W), got shape {images.shape}")
    if tile < 1 or margin < 0:
        raise ValueError(
            f"overlap_tile: tile must be at least 1 and margin at least 0, got {tile} and {margin}"
        )
    xp = backend.active().xp
    height, width = images.shape[2:]
    rows, columns = range(0, height, tile), range(0, width, tile)
    borders = [(margin, margin + -n % tile) for n in (height, width)]  # up to whole tiles
    mirrored = xp.pad(images.data, [(0, 0), (0, 0), *borders], "reflect")
    scores = None
    side = tile + 2 * margin
    with evaluating(model):
        for n, top, left in product(range(len(mirrored)), rows, columns):
            window = mirrored[n : n + 1, :, top : top + side, left : left + side]
            part = _middle(model(Tensor(window)), tile, margin)
            if scores is None:
                scores = xp.empty((len(mirrored), part.shape[1], height, width), part.dtype)
            bottom, right = min(top + tile, height), min(left + tile, width)
            scores[n, :, top:bottom, left:right] = part[0, :, : bottom - top, : right - left]
    return Tensor(scores)


def tile_for(model: Module, height: int, width: int) -> int:
    """The side of the tiles in which a model that has a margin labels an image: as many tiles along
    the longer side as of the largest, ``model.tile``, and no larger than they need to be.

    Example:
        >>> from tinyfcn import models
        >>> model = models.unet(width=1 / 64)
        >>> [tile_for(model, n, n) for n in (1, 128, 388, 389, 512)]
        [4, 132, 388, 196, 260]
    """
    network = as_network(model)
    side = max(height, width)
    tiles = -(-side // network.tile)
    return network.window(-(-side // tiles)) - 2 * network.margin


def _middle(scores: Tensor, tile: int, margin: int) -> Array:
    """The scores of the tile in those of a window."""
    size, window = scores.shape[2:], tile + 2 * margin
    if size not in ((tile, tile), (window, window)):
        raise ValueError(
            f"overlap_tile: for a window of {window} pixels the model gave scores of size {size}; "
            f"expected the tile, {tile}, or the window. Set tile and margin to suit"
        )
    edge = 0 if size == (tile, tile) else margin
    return scores.data[:, :, edge : edge + tile, edge : edge + tile]
