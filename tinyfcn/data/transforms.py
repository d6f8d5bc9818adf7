"""Augmentation of image and mask together: flips, turns, sizes and windows.

A transform is called as ``transform(sample, rng)`` and takes all its chance from ``rng``, so
that the loader decides what is repeatable. Geometry moves image and mask alike; masks are never
interpolated, and pixels that come from outside are void in the mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tinyfcn.data.dataset import Sample
from tinyfcn.data.palette import VOID

__all__ = [
    "Compose", "MirrorBorder", "RandomCrop", "RandomHorizontalFlip", "RandomScale", "RandomTurn",
    "RandomVerticalFlip", "Resize",
]  # fmt: skip

Transform = Callable[[Sample, np.random.Generator], Sample]
Pixels = NDArray[Any]
Sizes = Sequence[int]  # of each axis
Slices = tuple[slice, ...]

MEAN_COLOUR = (124, 116, 104)
"""ImageNet's mean colour, RGB: what fills an image where there is none; further channels begin
with the first again."""


class Compose:
    """Several transforms, one after the other.

    >>> Compose(RandomHorizontalFlip(), RandomCrop(128))
    Compose(RandomHorizontalFlip(probability=0.5), RandomCrop(size=(128, 128)))
    """

    def __init__(self, *transforms: Transform):
        self.transforms = transforms

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        for transform in self.transforms:
            sample = transform(sample, rng)
        return sample

    def __repr__(self) -> str:
        return f"Compose({', '.join(map(repr, self.transforms))})"


@dataclass(frozen=True)
class Amounts:
    """A transform whose numbers are from 0 to ``most``."""

    most: ClassVar[float] = 1

    def __post_init__(self) -> None:
        for name, amount in vars(self).items():
            if not 0 <= amount <= self.most:
                what = f"{type(self).__name__}: {name} must be in [0, {self.most:g}]"
                raise ValueError(f"{what}, got {amount}")


@dataclass(frozen=True)
class _Flip(Amounts):
    """With a probability, turn an axis round."""

    probability: float = 0.5
    axis: ClassVar[int]

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        if rng.random() >= self.probability:
            return sample
        return both(sample, lambda pixels: np.flip(pixels, self.axis))


class RandomHorizontalFlip(_Flip):
    """Swap left and right with a probability."""

    axis = 1


class RandomVerticalFlip(_Flip):
    """Swap top and bottom with a probability: for what has no upside, such as cells or maps."""

    axis = 0


@dataclass(frozen=True)
class RandomTurn(Amounts):
    """Turn by 90, 180 or 270 degrees with a probability; by default each of the four as likely."""

    probability: float = 0.75

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        quarters = int(rng.integers(1, 4)) if rng.random() < self.probability else 0
        return both(sample, lambda pixels: np.rot90(pixels, quarters))


@dataclass(frozen=True)
class RandomScale:
    """Resize by a factor drawn from [low, high]: the image bilinearly, the mask to the nearest."""

    low: float = 0.75
    high: float = 1.25

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high:
            raise ValueError(
                f"RandomScale: expected 0 < low <= high, got low={self.low}, high={self.high}"
            )

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        factor = rng.uniform(self.low, self.high)
        height, width = (max(1, round(length * factor)) for length in sample.mask.shape)
        return both(sample, lambda pixels: resized(pixels, height, width))


@dataclass(frozen=True)
class Resize:
    """Resize to a longest side, ``(512,)``, or to height and width, ``(480, 640)``, as
    :class:`RandomScale` does. Without a size, samples stay as they are.

    >>> Resize((512,)).shape(375, 500)
    (384, 512)
    """

    size: tuple[int, ...]

    def __post_init__(self) -> None:
        known = all(isinstance(length, int) and 1 <= length <= 8192 for length in self.size)
        if len(self.size) > 2 or not known:
            raise ValueError(
                "Resize: size must be a longest side, or height and width, integers from 1 to "
                f"8192, got {self.size}"
            )

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """What becomes of an image of this height and width."""
        if len(self.size) == 2:
            return self.size[0], self.size[1]
        factor = self.size[0] / max(height, width) if self.size else 1
        return max(1, round(height * factor)), max(1, round(width * factor))

    def __call__(self, sample: Sample, rng: np.random.Generator | None = None) -> Sample:
        height, width = self.shape(*sample.mask.shape)
        return both(sample, lambda pixels: resized(pixels, height, width))


class RandomCrop:
    """A window of ``size`` (one number or height and width) at a random place.

    Where the sample is smaller, it lies at a random place in the window, on the mean colour and
    void.
    """

    def __init__(self, size: int | tuple[int, int]):
        self.size = window_size("RandomCrop", size)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        channels, dtype = sample.image.shape[2], sample.image.dtype
        image = np.full((*self.size, channels), np.resize(MEAN_COLOUR, channels), dtype)
        mask = np.full(self.size, VOID, np.uint8)
        starts = random_start(sample.mask.shape, self.size, rng)
        source, target = overlap(sample.mask.shape, starts, self.size)
        image[target] = sample.image[source]
        mask[target] = sample.mask[source]
        return sample._replace(image=image, mask=mask)

    def __repr__(self) -> str:
        return f"RandomCrop(size={self.size})"


def both(sample: Sample, move: Callable[[Pixels], Pixels]) -> Sample:
    """The sample with image and mask moved alike."""
    return sample._replace(image=move(sample.image), mask=move(sample.mask))


def resized(pixels: Pixels, height: int, width: int) -> Pixels:
    """An image (H, W, C), resized bilinearly, or a mask (H, W), to the nearest pixels."""
    way = Image.Resampling.NEAREST if pixels.ndim == 2 else Image.Resampling.BILINEAR
    return by_pillow(pixels, lambda picture, _: picture.resize((width, height), way))


def by_pillow(pixels: Pixels, work: Callable[[Image.Image, Any], Image.Image]) -> Pixels:
    """What Pillow makes of an image (H, W, C) or a mask (H, W): of RGB at once, of other channels
    one by one, as it knows few of them and takes a fourth for alpha. ``work`` is called with a
    picture, and with its share of the mean colour, which is void in a mask."""
    if pixels.ndim == 2:
        return np.asarray(work(Image.fromarray(pixels), VOID))
    if pixels.shape[2] == 3 and pixels.dtype == np.uint8:
        return np.asarray(work(Image.fromarray(pixels), MEAN_COLOUR))
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    fills = np.resize(MEAN_COLOUR, len(planes)).tolist()
    done = [work(Image.fromarray(p), fill) for p, fill in zip(planes, fills, strict=True)]
    return np.stack([np.asarray(picture) for picture in done], axis=2)


def fitted(side: int, *pictures: Pixels) -> tuple[Any, ...]:
    """Images and masks of one size, all made as much smaller that no side is longer."""
    height, width = pictures[0].shape[:2]
    if max(height, width) <= side:
        return pictures
    return tuple(resized(pixels, *Resize((side,)).shape(height, width)) for pixels in pictures)


def window_size(name: str, size: int | Sequence[int]) -> tuple[int, int]:
    """Height and width of a square of that side, or as they are; else ValueError with ``name``."""
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or min(sides) < 1:
        raise ValueError(f"{name}: size must be one or two positive numbers, got {size}")
    return sides[0], sides[1]


def random_start(sizes: Sizes, windows: Sizes, rng: np.random.Generator) -> list[int]:
    """Where a window begins on each axis; below 0 it is larger and has the whole array in it."""
    return [
        int(rng.integers(min(0, length - window), max(0, length - window) + 1))
        for length, window in zip(sizes, windows, strict=True)
    ]


def overlap(sizes: Sizes, starts: Sizes, windows: Sizes) -> tuple[Slices, Slices]:
    """The part of an array that a window shows, as slices of the array and of the window.

    On each axis the window begins at a place in the array, which may lie before it or reach beyond.

    >>> overlap([10], [-2], [5])
    ((slice(0, 3, None),), (slice(2, 5, None),))
    """
    axes = list(zip(sizes, starts, windows, strict=True))
    return (
        tuple(slice(max(start, 0), min(start + window, size)) for size, start, window in axes),
        tuple(slice(max(-start, 0), min(size - start, window)) for size, start, window in axes),
    )


@dataclass(frozen=True)
class MirrorBorder:
    """Continue the image beyond its border by its mirror image; the mask is void there.

    Args:
        margin: pixels that are added at the top and on the left, and at least so many elsewhere.
        window: gives for a side of n pixels the side with the border, at least n + 2 · margin.

    Source: Ronneberger, Fischer, Brox: U-Net (MICCAI 2015), section 2.

    >>> sample = Sample("a", np.zeros((5, 9, 3), np.uint8), np.zeros((5, 9), np.uint8))
    >>> MirrorBorder(2, lambda n: n + 4)(sample).mask.shape
    (9, 13)
    """

    margin: int
    window: Callable[[int], int]

    def __call__(self, sample: Sample, rng: np.random.Generator | None = None) -> Sample:
        border = [(self.margin, self.window(n) - n - self.margin) for n in sample.mask.shape]
        return sample._replace(
            image=np.pad(sample.image, (*border, (0, 0)), "reflect"),
            mask=np.pad(sample.mask, border, constant_values=VOID),
        )
