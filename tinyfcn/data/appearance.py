"""Augmentation that changes colours and leaves every pixel, and the mask, where it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from tinyfcn.data.dataset import Sample
from tinyfcn.data.transforms import within

__all__ = ["ColourJitter", "RandomBlur", "RandomNoise"]


@dataclass(frozen=True)
class ColourJitter:
    """Change brightness, contrast and saturation by factors drawn from [1 − amount, 1 + amount]."""

    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2

    def __post_init__(self) -> None:
        for name, amount in vars(self).items():
            within(f"ColourJitter: {name}", amount, 0, 1)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        amounts = np.array([self.brightness, self.contrast, self.saturation])
        factors = rng.uniform(1 - amounts, 1 + amounts).astype(np.float32)
        brightness, contrast, saturation = factors
        image = sample.image * brightness
        grey = image @ np.array([0.299, 0.587, 0.114], np.float32)  # luma of ITU-R BT.601
        image = grey[..., None] + saturation * (image - grey[..., None])
        image = grey.mean() + contrast * (image - grey.mean())
        return sample._replace(image=np.clip(np.rint(image), 0, 255).astype(np.uint8))


@dataclass(frozen=True)
class RandomBlur:
    """Blur with a Gaussian whose deviation, in pixels, is drawn from [0, most].

    Pillow's Gaussian is three box filters.

    Source: Isensee et al.: nnU-Net (Nature Methods 2021), whose code draws from [0.5, 1] for a
    fifth of the images.
    """

    most: float = 1.0

    def __post_init__(self) -> None:
        within("RandomBlur: most", self.most, 0, 100)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        blur = ImageFilter.GaussianBlur(rng.uniform(0, self.most))
        return sample._replace(image=np.asarray(Image.fromarray(sample.image).filter(blur)))


@dataclass(frozen=True)
class RandomNoise:
    """Add normal noise, for each channel of a pixel by itself.

    Its deviation is drawn from [0, most], as a part of the range of colours: 0.05 is 12.75 of 255.

    Source: nnU-Net, as for :class:`RandomBlur`: for a tenth of the images, up to 0.32 times the
    deviation of their colours.
    """

    most: float = 0.05

    def __post_init__(self) -> None:
        within("RandomNoise: most", self.most, 0, 1)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        image = rng.standard_normal(sample.image.shape, np.float32)
        image *= 255 * rng.uniform(0, self.most)
        image += sample.image
        np.clip(np.rint(image, out=image), 0, 255, out=image)
        return sample._replace(image=image.astype(np.uint8))
