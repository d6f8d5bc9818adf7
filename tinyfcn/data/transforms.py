"""Augmentation of image and mask together.

A transform is called as ``transform(sample, rng)`` and takes all its chance from ``rng``, so
that the loader decides what is repeatable. Geometry moves image and mask alike; masks are never
interpolated, and pixels that come from outside are void in the mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from tinyfcn.data.dataset import Sample
from tinyfcn.data.palette import VOID

__all__ = [
    "ColourJitter", "Compose", "MirrorBorder", "RandomCrop", "RandomHorizontalFlip", "RandomScale",
]  # fmt: skip

Transform = Callable[[Sample, np.random.Generator], Sample]

MEAN_COLOUR = (124, 116, 104)
"""ImageNet's mean colour, RGB: what fills an image where there is none."""


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
class RandomHorizontalFlip:
    """Swap left and right with a probability."""

    probability: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(
                f"RandomHorizontalFlip: probability must be in [0, 1], got {self.probability}"
            )

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        if rng.random() >= self.probability:
            return sample
        return sample._replace(image=sample.image[:, ::-1], mask=sample.mask[:, ::-1])


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
        image, mask = Image.fromarray(sample.image), Image.fromarray(sample.mask)
        return sample._replace(
            image=np.asarray(image.resize((width, height), Image.Resampling.BILINEAR)),
            mask=np.asarray(mask.resize((width, height), Image.Resampling.NEAREST)),
        )


class RandomCrop:
    """A window of ``size`` (one number or height and width) at a random place.

    Where the sample is smaller, it lies at a random place in the window, on the mean colour and
    void.
    """

    def __init__(self, size: int | tuple[int, int]):
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(f"RandomCrop: size must be one or two positive numbers, got {size}")

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        image = np.full((*self.size, 3), MEAN_COLOUR, np.uint8)
        mask = np.full(self.size, VOID, np.uint8)
        # A negative start puts the whole sample inside the window.
        starts = [
            int(rng.integers(min(0, length - window), max(0, length - window) + 1))
            for length, window in zip(sample.mask.shape, self.size, strict=True)
        ]
        source, target = overlap(sample.mask.shape, starts, self.size)
        image[target] = sample.image[source]
        mask[target] = sample.mask[source]
        return sample._replace(image=image, mask=mask)

    def __repr__(self) -> str:
        return f"RandomCrop(size={self.size})"


def overlap(
    sizes: Sequence[int], starts: Sequence[int], windows: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
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


@dataclass(frozen=True)
class ColourJitter:
    """Change brightness, contrast and saturation by factors drawn from [1 − amount, 1 + amount]."""

    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2

    def __post_init__(self) -> None:
        for name, amount in vars(self).items():
            if not 0 <= amount < 1:
                raise ValueError(f"ColourJitter: {name} must be in [0, 1), got {amount}")

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        amounts = np.array([self.brightness, self.contrast, self.saturation])
        factors = rng.uniform(1 - amounts, 1 + amounts).astype(np.float32)
        brightness, contrast, saturation = factors
        image = sample.image * brightness
        grey = image @ np.array([0.299, 0.587, 0.114], np.float32)  # luma of ITU-R BT.601
        image = grey[..., None] + saturation * (image - grey[..., None])
        image = grey.mean() + contrast * (image - grey.mean())
        return sample._replace(image=np.clip(np.rint(image), 0, 255).astype(np.uint8))
