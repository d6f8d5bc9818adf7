"""Whether images and masks belong together: by outlines, which lie where an image changes.

Both are made 32 × 32: how much the image changes at each pixel, and whether an outline of the mask
is there. The correlation of the two says how well a mask fits its own image, another, or its own
when it is turned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tinyfcn.data.conventions import borders

SIDE = 32
AT_ONCE = 512  # images that are compared with all others at a time
# Copies of a picture differ by less: of 256 grey levels, and of what it varies by.
ALIKE, PART = 3.0, 0.3
SURE = 0.2  # of correlation, by which another image or turn has to fit better than a mask's own
WORST = 2000  # masks among which swapped ones are looked for
MANY = 8  # masks, whose mean tells more than each

Cells = NDArray[np.uint8]
Rows = NDArray[np.float32]  # (N, SIDE²)
TURNS: dict[str, Callable[[Any], Any]] = {
    "turned upside down": lambda cells: cells[:, ::-1, ::-1],
    "mirrored left to right": lambda cells: cells[:, :, ::-1],
    "mirrored top to bottom": lambda cells: cells[:, ::-1],
    "turned by a quarter to the right": lambda cells: np.rot90(cells, axes=(1, 2)),
    "turned by a quarter to the left": lambda cells: np.rot90(cells, -1, axes=(1, 2)),
    "mirrored at a diagonal": lambda cells: cells.swapaxes(1, 2),
    "mirrored at the other diagonal": lambda cells: cells[:, ::-1, ::-1].swapaxes(1, 2),
}


def from_afar(image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> Cells:
    """What is left of an image (H, W, 3) and its mask (H, W) from afar: the image in grey, how much
    it changes, and where outlines are, uint8 (3, ``SIDE``, ``SIDE``)."""
    small = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2)
    labels = Image.fromarray(mask).resize((SIDE, SIDE), Image.Resampling.NEAREST)
    grey, changes = np.asarray(small.convert("L")), _steps(np.asarray(small))
    return np.stack([grey, changes, borders(np.asarray(labels)).view(np.uint8)])


def _steps(pixels: NDArray[np.uint8]) -> Cells:
    """The largest difference of each pixel of (H, W, C) to one beside it, (H, W)."""
    wide = np.pad(pixels.astype(np.int16), ((1, 1), (1, 1), (0, 0)), "edge")
    beside = wide[:-2, 1:-1], wide[2:, 1:-1], wide[1:-1, :-2], wide[1:-1, 2:]
    return np.max([np.abs(pixels - other) for other in beside], axis=(0, 3)).astype(np.uint8)


def same_pictures(first: Cells, second: Cells) -> list[tuple[int, int]]:
    """The pictures of the first that are in the second too: pairs of places."""
    found = []
    one, two = (part[:, 0].reshape(-1, SIDE**2).astype(np.float32) for part in (first, second))
    squares, most = np.square(two).sum(axis=1), np.minimum(ALIKE, PART * one.std(axis=1))
    for start in range(0, len(one), AT_ONCE):
        some = one[start : start + AT_ONCE]
        apart = np.square(some).sum(axis=1)[:, None] + squares - 2 * some @ two.T
        near = apart < np.square(most[start : start + AT_ONCE, None]) * some.shape[1]
        found += [(start + i, j) for i, j in np.argwhere(near).tolist()]
    return found


def fits(afar: Cells, turn: Callable[[Any], Any] = lambda cells: cells) -> NDArray[np.float32]:
    """How well each mask, turned, fits its image: a correlation, (N,)."""
    return np.asarray((_changes(afar) * _unit(turn(afar[:, 2]))).sum(axis=1))


def turned(afar: Cells) -> dict[str, NDArray[np.bool_]]:
    """Which masks fit better turned back, (N,), by how they are turned."""
    own, turns = fits(afar), np.array([fits(afar, turn) for turn in TURNS.values()])
    better, sure = turns - own, _sure(np.maximum(own, turns.max(axis=0)))
    found = {}
    for how, gain in zip(TURNS, better, strict=True):
        error = gain.std() / np.sqrt(len(gain))
        if len(gain) >= MANY and gain.mean() > max(SURE / 2, 4 * error):
            return {how: np.full(len(gain), True)}
        found[how] = (gain > sure) & (gain == better.max(axis=0))
    return found


def swapped(afar: Cells) -> list[tuple[int, int]]:
    """Pairs of places whose masks both fit the other image better than either fits its own."""
    own = fits(afar)
    worst = own.argsort()[:WORST]
    fit = _unit(afar[worst, 2]) @ _changes(afar[worst]).T
    least = own[worst] + _sure(own)
    better = np.minimum(fit, fit.T) > np.maximum(least[:, None], least)
    found = worst[np.argwhere(better)].tolist()
    return [(i, j) for i, j in found if i < j]


def _sure(fits: NDArray[np.float32]) -> float:
    """How much better something must fit to be told: the more, the worse masks fit in general."""
    usual = np.median(fits) if len(fits) >= MANY else 2 * SURE
    return float(max(SURE, 1 - 1.5 * usual))


def _changes(afar: Cells) -> Rows:
    """Of each image, in levels as the eye has them, as a unit vector."""
    return _unit(np.log1p(afar[:, 1], dtype=np.float32))


def _unit(cells: NDArray[Any]) -> Rows:
    """Each (H, W) of many as a vector of mean 0 and length 1; of 0 where it is plain."""
    rows = np.array(cells, np.float32).reshape(len(cells), -1)
    rows -= rows.mean(axis=1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1)
