"""The colours and class names of Pascal VOC, and the way between indices and colours.

A VOC mask is a palette PNG: each pixel *is* a class index, and the palette only says in which
colour a viewer shows it.

The palette follows from the bits of the index, so that 256 well separated colours need no table: of
the index, bit 0 goes to red, bit 1 to green and bit 2 to blue, at the highest free bit of each; the
index is shifted right by three and the round repeats (VOC development kit, ``VOClabelcolormap.m``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["VOC_CLASSES", "VOC_PALETTE", "VOID", "index_to_rgb", "rgb_to_index", "voc_palette"]

VOC_CLASSES: tuple[str, ...] = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip

VOID = 255  # pixels that are neither learnt nor counted: object borders and difficult objects


def voc_palette(colours: int = 256) -> NDArray[np.uint8]:
    """The first ``colours`` entries of the VOC palette, uint8 (colours, 3), RGB.

    >>> voc_palette(3).tolist()
    [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
    """
    index, channel = np.arange(colours)[:, None], np.arange(3)
    bits = [(index >> (3 * turn + channel) & 1) << (7 - turn) for turn in range(8)]
    return np.sum(bits, axis=0).astype(np.uint8)


VOC_PALETTE = voc_palette()
VOC_PALETTE.setflags(write=False)


def index_to_rgb(
    mask: NDArray[np.integer], palette: NDArray[np.uint8] = VOC_PALETTE
) -> NDArray[np.uint8]:
    """Colour a mask: indices (H, W) to uint8 RGB (H, W, 3).

    >>> index_to_rgb(np.array([[0, 15, 255]])).tolist()
    [[[0, 0, 0], [192, 128, 128], [224, 224, 192]]]
    """
    mask = np.asarray(mask)
    if mask.size and not 0 <= mask.min() <= mask.max() < len(palette):
        raise ValueError(
            f"index_to_rgb: indices must lie in [0, {len(palette)}), the size of the palette, "
            f"but range from {mask.min()} to {mask.max()}"
        )
    return palette[mask]


def rgb_to_index(
    rgb: NDArray[np.uint8], palette: NDArray[np.uint8] = VOC_PALETTE
) -> NDArray[np.uint8]:
    """The inverse of :func:`index_to_rgb`: uint8 RGB (H, W, 3) to indices uint8 (H, W).

    A colour that the palette has twice becomes the lower index. Raises ValueError with the first
    colour that the palette lacks and its position: guessing a near colour would invent labels.

    >>> rgb_to_index(np.array([[[128, 0, 0], [224, 224, 192]]], np.uint8)).tolist()
    [[1, 255]]
    """
    rgb = np.asarray(rgb)
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(
            f"rgb_to_index: mask must be uint8 (H, W, 3), but is {rgb.dtype} {rgb.shape}"
        )
    codes, first = np.unique(_code(palette), return_index=True)
    indices = np.empty(rgb.shape[:2], np.int16)
    for row, line in enumerate(rgb):  # in little memory
        wanted = _code(line)
        place = np.minimum(np.searchsorted(codes, wanted), len(codes) - 1)
        indices[row] = np.where(codes[place] == wanted, first[place], -1)
    unknown = indices < 0
    if unknown.any():
        row, column = np.argwhere(unknown)[0].tolist()
        raise ValueError(
            f"rgb_to_index: colour RGB {tuple(rgb[row, column].tolist())} at row {row}, column "
            f"{column} is not in the palette ({unknown.sum()} of {unknown.size} pixels have "
            "unknown colours)"
        )
    return indices.astype(np.uint8)


def _code(colours: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Each colour of (..., 3) as one number of 24 bits."""
    return colours.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
