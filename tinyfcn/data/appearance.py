"""Augmentation that changes colours and leaves every pixel, and the mask, where it is."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tinyfcn.data.conventions import LUMA
from tinyfcn.data.dataset import Sample
from tinyfcn.data.transforms import Amounts

__all__ = ["ColourJitter", "RandomBlur", "RandomNoise"]


@dataclass(frozen=True)
class ColourJitter(Amounts):
    """Change brightness, contrast and saturation by factors drawn from [1 − amount, 1 + amount].

    Only RGB has saturation.
    """

    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        amounts = np.array([self.brightness, self.contrast, self.saturation])
        factors = rng.uniform(1 - amounts, 1 + amounts).astype(np.float32)
        brightness, contrast, saturation = factors
        image = sample.image * brightness
        grey = image
        if image.shape[2] == 3:
            grey = (image @ LUMA)[..., None]
            image = grey + saturation * (image - grey)
        image = grey.mean() + contrast * (image - grey.mean())
        return sample._replace(image=_within_range(image, sample.image.dtype))


@dataclass(frozen=True)
class RandomBlur(Amounts):
    """Blur with a Gaussian whose deviation, in pixels, is drawn from [0, deviation].

    Source: Isensee et al.: nnU-Net (Nature Methods 2021), whose code draws from [0.5, 1] for a
    fifth of the images.
    """

    deviation: float = 1.0
    most: ClassVar[float] = 100

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        deviation = rng.uniform(0, self.deviation)
        reach = ceil(3 * deviation)
        weights = np.exp(-np.square(np.arange(-reach, reach + 1) / max(deviation, 1e-9)) / 2)
        weights = (weights / weights.sum()).astype(np.float32)
        image = sample.image.astype(np.float32)
        for size in sample.mask.shape:  # along the rows, then along the columns
            wide = np.pad(image, ((reach, reach), (0, 0), (0, 0)), "edge")
            image = sum(w * wide[i : i + size] for i, w in enumerate(weights)).swapaxes(0, 1)
        return sample._replace(image=_within_range(image, sample.image.dtype))


@dataclass(frozen=True)
class RandomNoise(Amounts):
    """Add normal noise, for each channel of a pixel by itself.

    Its deviation is drawn from [0, deviation], as a part of the range of colours: 0.05 is 12.75 of
    255.

    Source: nnU-Net, as for :class:`RandomBlur`: for a tenth of the images, up to 0.32 times the
    deviation of their colours.
    """

    deviation: float = 0.05

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        image = rng.standard_normal(sample.image.shape, np.float32)
        image *= 255 * rng.uniform(0, self.deviation)
        image += sample.image
        return sample._replace(image=_within_range(image, sample.image.dtype))


def _within_range(image: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The image in 0…255; of whole numbers where it began as such."""
    if dtype == np.uint8:
        np.rint(image, out=image)
    return np.clip(image, 0, 255, out=image).astype(dtype, copy=False)
