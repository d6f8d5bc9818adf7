"""Colours for classes: VOC's for VOC's, and for all others some that every eye can tell apart.

A background is black in a mask. The other classes take, in their order, the colours of Okabe and
Ito ("Color Universal Design", 2008), and then, of a grid of colours that are not too dark and not
too light, always the one that is furthest from all before it, and from white, black and void: in
CIELAB, and for the worst of four eyes, the usual one and the three that lack a kind of cones
(Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision
Deficiency", IEEE TVCG 2009). These are listed here; a test computes them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tinyfcn.data.palette import VOC_CLASSES, VOC_PALETTE, VOID

__all__ = ["class_palette", "is_background"]

_OKABE_ITO = bytes.fromhex("e69f00 56b4e9 009e73 f0e442 0072b2 d55e00 cc79a7")
# Red, green and blue of each, from 0 to 7.
_FURTHEST = (
    "417310114212474602437567423453303605232447007420655262352516554124736524315273321466564441122"
    "747713536463403306404544205427752331076402645334223521732766526635546006301534410416556533415"
    "457432523277355551734065743372535604470360236525307512756300763305041637631030445702640517316"
    "311744532767515034746627501413661606247412765657755053375510354407652214444601465540531656446"
    "654213356613257333733636543545562653005542164745741125120222332634664045302553764131137610123"
    "555557411221620414071615342616760614224753226443135431650442341506705350663127163473625421665"
    "052220066537722206234520324612704032632706464215422621353467563742454323750452174642015462707"
    "033603724666701054703560511611725067552207156451204723424216343155364121363623425016075061322"
)


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
    levels = [*_OKABE_ITO, *(round(int(level) * 255 / 7) for level in _FURTHEST)]
    colours = iter(np.reshape(levels, (-1, 3)))
    rows = [(0, 0, 0) if is_background(name) else next(colours) for name in classes]
    return np.array([*rows, *colours][:VOID] + [VOC_PALETTE[VOID]], np.uint8)
