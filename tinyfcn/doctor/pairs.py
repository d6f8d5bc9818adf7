"""Whether images and masks belong together: by outlines, which lie where an image changes.

Both are made 32 × 32: how much the image changes at each pixel, and whether an outline of the mask
is there. The correlation of the two says how well a mask fits its own image, another, or its own
when it is turned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 32
AT_ONCE = 512  # images that are compared with all others at a time
ALIKE = 2.0  # grey levels, of 256, that copies of a picture differ by at most
PLAIN = 4.0  # grey levels that a picture varies by, too little to tell one from another
SURE = 0.2  # of correlation, by which another image or turn has to fit better than a mask's own
MANY = 8  # masks, whose mean tells more than each

Cells = NDArray[np.uint8]
Fits = NDArray[np.float32]
TURNS: dict[str, Callable[[Any], Any]] = {
    "turned upside down": lambda cells: cells[:, ::-1, ::-1],
    "mirrored left to right": lambda cells: cells[:, :, ::-1],
    "mirrored top to bottom": lambda cells: cells[:, ::-1],
    "turned by a quarter to the right": lambda cells: np.rot90(cells, axes=(1, 2)),
    "turned by a quarter to the left": lambda cells: np.rot90(cells, -1, axes=(1, 2)),
    "mirrored at a diagonal": lambda cells: cells.swapaxes(1, 2),
    "mirrored at the other diagonal": lambda cells: np.rot90(cells, 2, (1, 2)).swapaxes(1, 2),
}


class Afar(NamedTuple):
    """An image and its mask from afar; each is uint8 (``SIDE``, ``SIDE``)."""

    grey: Cells
    changes: Cells
    outlines: Cells


BLANK = Afar(*np.zeros((3, SIDE, SIDE), np.uint8))


def from_afar(image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> Afar:
    """What is left of an image (H, W, 3) and its mask (H, W) from afar."""
    small = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    labels = Image.fromarray(mask).resize((SIDE, SIDE), Image.Resampling.NEAREST)
    outlines = _steps(np.asarray(labels)[..., None]) > 0
    return Afar(np.asarray(small.convert("L")), _steps(np.asarray(small)), outlines.view(np.uint8))


def _steps(pixels: NDArray[np.uint8]) -> Cells:
    """The largest difference of each pixel of (H, W, C) to those beside it, (H, W)."""
    largest = np.zeros(pixels.shape[:2], np.uint8)
    for cells, values in ((largest, pixels), (largest.T, pixels.swapaxes(0, 1))):
        steps = np.abs(np.diff(values.astype(np.int16), axis=0)).max(axis=2).astype(np.uint8)
        for side in (cells[1:], cells[:-1]):
            np.maximum(side, steps, out=side)
    return largest


def same_pictures(first: Sequence[Afar], second: Sequence[Afar]) -> Iterator[tuple[int, int]]:
    """The pictures of the first that are in the second too, as pairs of places."""
    one, two = (_stacked(part, "grey").reshape(len(part), -1) for part in (first, second))
    squares = np.square(two).sum(axis=1)
    for start in range(0, len(one), AT_ONCE):
        some = one[start : start + AT_ONCE]
        apart = np.square(some).sum(axis=1)[:, None] + squares - 2 * some @ two.T
        near = (apart < ALIKE**2 * some.shape[1]) & (some.std(axis=1)[:, None] > PLAIN)
        yield from ((start + i, j) for i, j in np.argwhere(near).tolist())


def fits(pairs: Sequence[Afar]) -> Fits:
    """How well each mask fits its image: a correlation, (N,)."""
    changes, outlines = _both(pairs)
    return np.asarray((changes * _unit(outlines)).sum(axis=1))


def turned(pairs: Sequence[Afar]) -> dict[str, list[int]]:
    """The places of masks that fit better turned back, by how they are turned."""
    changes, outlines = _both(pairs)
    own = (changes * _unit(outlines)).sum(axis=1)
    turns = np.array([(changes * _unit(turn(outlines))).sum(axis=1) for turn in TURNS.values()])
    better = turns - own
    sure = _sure(np.maximum(own, turns.max(axis=0)))
    found: dict[str, list[int]] = {}
    for name, gain in zip(TURNS, better, strict=True):
        error = gain.std() / np.sqrt(len(gain))
        if len(gain) >= MANY and gain.mean() > max(SURE / 2, 4 * error):
            return {name: [*range(len(pairs))]}
        found[name] = np.flatnonzero((gain > sure) & (gain == better.max(axis=0))).tolist()
    return found


def swapped(pairs: Sequence[Afar]) -> Iterator[tuple[int, int]]:
    """Pairs of places whose masks both fit the other image better than either fits its own."""
    changes, outlines = _both(pairs)
    outlines = _unit(outlines)
    own = (changes * outlines).sum(axis=1)
    for start in range(0, len(pairs), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        across = np.minimum(outlines[part] @ changes.T, changes[part] @ outlines.T)
        sure = across > np.maximum(own[part, None], own) + _sure(own)
        yield from ((start + i, j) for i, j in np.argwhere(sure).tolist() if start + i < j)


def _sure(fits: Fits) -> float:
    """How much better something must fit to be told: the more, the worse masks fit in general."""
    usual = np.median(fits) if len(fits) >= MANY else 2 * SURE
    return float(max(SURE, 1 - 1.5 * usual))


def _stacked(pairs: Sequence[Afar], name: str) -> NDArray[np.float32]:
    return np.stack([getattr(pair, name) for pair in pairs]).astype(np.float32)


def _both(pairs: Sequence[Afar]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Changes as unit vectors (N, ``SIDE``²), in levels as the eye has them, and outlines."""
    return _unit(np.log1p(_stacked(pairs, "changes"))), _stacked(pairs, "outlines")


def _unit(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each (H, W) of many as a vector of mean 0 and length 1; of 0 where it is plain."""
    flat = cells.reshape(len(cells), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1)
