"""Whether images and masks belong together: by outlines, which lie where an image changes.

Both are made 32 × 32: how much the image changes in each cell, and how much of it outlines of the
mask cross. The correlation of the two says how well a mask fits its own image, another one, or its
own when it is turned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tinyfcn.data.conventions import borders

SIDE = 32
AT_ONCE = 512  # images that are compared with all others at a time
ALIKE = 2.0  # grey levels, of 256, that copies of a picture differ by at most
PLAIN = 4.0  # grey levels that a picture varies by, too little to tell one from another
SURE = 0.2  # of correlation, by which another image or turn has to fit better than a mask's own
MANY = 8  # masks, whose mean tells more than each

Cells = NDArray[np.uint8]
TURNS: dict[str, Callable[[Any], Any]] = {
    "turned by 180 degrees": lambda cells: cells[:, ::-1, ::-1],
    "mirrored left to right": lambda cells: cells[:, :, ::-1],
    "mirrored top to bottom": lambda cells: cells[:, ::-1],
    "turned by 90 degrees": lambda cells: np.rot90(cells, axes=(1, 2)),
    "turned by 270 degrees": lambda cells: np.rot90(cells, -1, axes=(1, 2)),
}


class Afar(NamedTuple):
    """An image and its mask from afar; each is uint8 (``SIDE``, ``SIDE``)."""

    grey: Cells
    changes: Cells
    outlines: Cells


BLANK = Afar(*np.zeros((3, SIDE, SIDE), np.uint8))


def from_afar(image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> Afar:
    """What is left of an image (H, W, 3) and its mask (H, W) from afar."""
    grey = np.asarray(Image.fromarray(image).convert("L"))
    change = np.zeros(grey.shape, np.uint8)
    for axis, rest in ((0, change[1:]), (1, change[:, 1:])):
        step = np.abs(np.diff(grey.astype(np.int16), axis=axis)).astype(np.uint8)
        np.maximum(rest, step, out=rest)
    return Afar(_small(grey), _small(change), _small(borders(mask) * np.uint8(255)))


def same_pictures(first: Sequence[Afar], second: Sequence[Afar]) -> Iterator[tuple[int, int]]:
    """The pictures of the first that are in the second too, as pairs of places."""
    one, two = (_stacked(part, "grey").reshape(len(part), -1) for part in (first, second))
    squares = np.square(two).sum(axis=1)
    for start in range(0, len(one), AT_ONCE):
        some = one[start : start + AT_ONCE]
        apart = np.square(some).sum(axis=1)[:, None] + squares - 2 * some @ two.T
        near = (apart < ALIKE**2 * some.shape[1]) & (some.std(axis=1)[:, None] > PLAIN)
        yield from ((start + i, j) for i, j in np.argwhere(near).tolist())


def fits(pairs: Sequence[Afar]) -> NDArray[np.float32]:
    """How well each mask fits its image: a correlation, (N,)."""
    changes, outlines = (_unit(_stacked(pairs, name)) for name in ("changes", "outlines"))
    return np.asarray((changes * outlines).sum(axis=1))


def turned(pairs: Sequence[Afar]) -> dict[str, list[int]]:
    """The places of masks that fit better turned back, by how they are turned."""
    changes, outlines = _unit(_stacked(pairs, "changes")), _stacked(pairs, "outlines")
    own = (changes * _unit(outlines)).sum(axis=1)
    found: dict[str, list[int]] = {}
    for name, turn in TURNS.items():
        better = (changes * _unit(turn(outlines))).sum(axis=1) - own
        error = better.std() / np.sqrt(len(better))
        if len(better) >= MANY and better.mean() > max(SURE / 2, 4 * error):
            return {name: [*range(len(pairs))]}
        found[name] = np.flatnonzero(better > 2 * SURE).tolist()
    return found


def swapped(pairs: Sequence[Afar]) -> Iterator[tuple[int, int]]:
    """Pairs of places whose masks both fit the other image better than either fits its own."""
    changes, outlines = (_unit(_stacked(pairs, name)) for name in ("changes", "outlines"))
    own = (changes * outlines).sum(axis=1)
    for start in range(0, len(pairs), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        across = np.minimum(outlines[part] @ changes.T, changes[part] @ outlines.T)
        sure = across > np.maximum(own[part, None], own) + SURE
        yield from ((start + i, j) for i, j in np.argwhere(sure).tolist() if start + i < j)


def _small(pixels: NDArray[np.uint8]) -> Cells:
    return np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def _stacked(pairs: Sequence[Afar], name: str) -> NDArray[np.float32]:
    return np.stack([getattr(pair, name) for pair in pairs]).astype(np.float32)


def _unit(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each (H, W) of many as a vector of mean 0 and length 1; of 0 where it is plain."""
    flat = cells.reshape(len(cells), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1)
