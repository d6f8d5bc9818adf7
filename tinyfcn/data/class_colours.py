"""Colours for classes: VOC's for VOC's, and for all others some that every eye can tell apart.

A background is black in a mask. The other classes take, in their order, the colours of Okabe and
Ito ("Color Universal Design", 2008), and then, of a grid of colours that are not too dark and not
too light, always the one that is furthest from all before it, and from white, black and void: in
CIELAB, and for the worst of four eyes, the usual one and the three that lack a kind of cones. What
those see is computed after Machado, Oliveira and Fernandes, "A Physiologically-based Model for
Simulation of Color Vision Deficiency" (IEEE TVCG 2009, severity 1).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfcn.data.palette import VOC_CLASSES, VOC_PALETTE, VOID

__all__ = ["class_palette", "is_background"]

_OKABE_ITO = bytes.fromhex("e69f00 56b4e9 009e73 f0e442 0072b2 d55e00 cc79a7")
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)

# Linear RGB as each eye sees it: the usual one; without cones for long, medium and short waves.
_EYES = np.array([
    [1, 0, 0, 0, 1, 0, 0, 0, 1],
    [0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998],
    [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.011820, 0.042940, 0.968881],
    [1.255528, -0.076749, -0.178779, -0.078411, 0.930809, 0.147602, 0.004733, 0.691367, 0.303900],
]).reshape(4, 3, 3)  # fmt: skip
# XYZ of linear RGB (IEC 61966-2-1), relative to white.
_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_XYZ /= _XYZ.sum(axis=1, keepdims=True)


def is_background(name: str) -> bool:
    """Whether a class is what is none of the others, by its name.

    >>> is_background("_background_"), is_background("Background"), is_background("sky")
    (True, True, False)
    """
    return name.strip("_ ").lower() == "background"


def class_palette(classes: Sequence[str]) -> NDArray[np.uint8]:
    """The colour of each class, and of void, uint8 (256, 3), RGB; those between are other colours.

    >>> class_palette(["background", "cat"])[[0, 1, 255]].tolist()
    [[0, 0, 0], [230, 159, 0], [224, 224, 192]]
    """
    if tuple(classes) == VOC_CLASSES:
        return VOC_PALETTE
    colours = iter(_own_colours())
    rows = [_BLACK if is_background(name) else next(colours) for name in classes]
    return np.array([*rows, *colours][:VOID] + [VOC_PALETTE[VOID]], np.uint8)


@functools.cache
def _own_colours() -> list[Any]:
    grid = np.array([*itertools.product((0, 36, 73, 109, 146, 182, 219, 255), repeat=3)])
    grid = grid[np.abs(_seen(grid)[0, :, 0] - 56) < 36]  # L* from 20 to 92
    seen, apart = _seen(grid), np.full(len(grid), np.inf)
    colours: list[Any] = [_BLACK, _WHITE, VOC_PALETTE[VOID], *np.reshape([*_OKABE_ITO], (-1, 3))]
    for colour in colours:  # which grow in the loop
        distances = np.linalg.norm(seen - _seen(np.array([colour])), axis=-1)
        apart = np.minimum(apart, distances.min(axis=0))
        if colour is colours[-1] and len(colours) < 3 + VOID:
            colours.append(grid[apart.round(2).argmax()])  # rounded: the same on every machine
    return colours[3:]


def _seen(colours: NDArray[np.integer]) -> NDArray[np.float64]:
    """RGB of 0…255, (N, 3), in CIELAB as each of the four eyes sees it, (4, N, 3)."""
    share = colours / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    xyz = np.clip(linear @ _EYES.mT, 0, 1) @ _XYZ.T
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
