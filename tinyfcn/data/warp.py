"""Rotation and elastic deformation: each pixel of a window looks up where in the sample it lies.

Both are one map of places, so an image is interpolated once, and only the window is computed,
however large the image is. What a turned window shows beyond its own frame comes from the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, cos, floor, radians, sin
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tinyfcn.data.dataset import Sample
from tinyfcn.data.transforms import Pixels, both, by_pillow, random_start, window_size

__all__ = ["RandomWarp"]

_SPACING = 64  # pixels from one random displacement to the next, at most
_CELL = 16  # side of the squares of a window between whose corners displacements are interpolated


@dataclass(frozen=True)
class RandomWarp:
    """A window at a random place, turned about its centre and bent.

    The angle is drawn from [-degrees, degrees]. For the bending, displacements are drawn on a
    coarse grid, in rows and in columns from a normal distribution of ``elastic`` pixels, and go
    over into each other smoothly (bicubic). Colours are interpolated bilinearly, labels are those
    of the nearest pixel; outside of the sample are the mean colour and void.

    Args:
        degrees: the largest angle.
        elastic: deviation of the displacements, in pixels; from about 10 on, lines fold.
        size: of the window, one number or height and width; None takes the whole sample.

    Sources: Simard, Steinkraus, Platt: Best Practices for Convolutional Neural Networks (ICDAR
    2003), section 2; the coarse grid: Ronneberger, Fischer, Brox: U-Net (MICCAI 2015), section 3.1,
    where it has 3 x 3 points and ``elastic`` is 10.

    >>> sample = Sample("a", np.zeros((50, 90, 3), np.uint8), np.zeros((50, 90), np.uint8))
    >>> RandomWarp(20, elastic=5, size=32)(sample, np.random.default_rng(0)).mask.shape
    (32, 32)
    """

    degrees: float = 0.0
    elastic: float = 0.0
    size: int | tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.size is not None:
            object.__setattr__(self, "size", window_size("RandomWarp", self.size))

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        size = sample.mask.shape if self.size is None else window_size("RandomWarp", self.size)
        start = np.reshape(random_start(sample.mask.shape, size, rng), (2, 1, 1))
        cuts = [[*range(0, n, _CELL if self.elastic else n), n] for n in size]
        corners = np.stack(np.meshgrid(*cuts, indexing="ij"))  # (2, rows, columns)
        centre = np.reshape(size, (2, 1, 1)) / 2
        angle = radians(rng.uniform(-self.degrees, self.degrees))
        turn = [[cos(angle), sin(angle)], [-sin(angle), cos(angle)]]
        places = np.tensordot(turn, corners - centre, 1) + centre + start
        if self.elastic:
            coarse = rng.normal(0, self.elastic, (2, *(1 + -(-n // _SPACING) for n in size)))
            for axis, plane in zip(places, coarse.astype(np.float32), strict=True):
                way = Image.Resampling.BICUBIC
                axis += np.asarray(Image.fromarray(plane).resize(axis.shape[::-1], way))
        return _look_up(sample, corners, places)


def _look_up(sample: Sample, corners: NDArray[np.intp], places: NDArray[np.float64]) -> Sample:
    """The window whose cells have their corners there, and in the sample at these places."""
    # Pillow copies what it reads from, so it is shown the part of the sample that is needed.
    part = tuple(map(_part, places, sample.mask.shape))
    places = places - np.reshape([axis.start for axis in part], (2, 1, 1))
    upper, lower = slice(None, -1), slice(1, None)
    boxes = _cells(corners, (upper, upper), (lower, lower))
    # Pillow's order: upper left, lower left, lower right, upper right.
    order = (upper, upper), (lower, upper), (lower, lower), (upper, lower)
    mesh = list(zip(map(tuple, boxes), _cells(places, *order), strict=True))
    height, width = corners[:, -1, -1].tolist()

    def seen(pixels: Pixels) -> Pixels:
        method = Image.Resampling.NEAREST if pixels.ndim == 2 else Image.Resampling.BILINEAR
        arguments = (width, height), Image.Transform.MESH, mesh, method
        return by_pillow(
            np.ascontiguousarray(pixels[part]),
            lambda picture, outside: picture.transform(*arguments, fillcolor=outside),
        )

    return both(sample, seen)


def _part(places: NDArray[np.float64], size: int) -> slice:
    """What of an axis is looked up, and a pixel more; a single one if all of it lies outside."""
    start = min(max(floor(places.min()) - 1, 0), size - 1)
    return slice(start, min(max(ceil(places.max()) + 1, start + 1), size))


def _cells(points: NDArray[Any], *corners: tuple[slice, slice]) -> list[list[Any]]:
    """x and y of these corners of each cell, one after the other."""
    found = np.concatenate([points[::-1, rows, columns] for rows, columns in corners])
    return found.reshape(len(found), -1).T.tolist()
