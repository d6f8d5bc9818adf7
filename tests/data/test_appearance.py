"""Augmentation of colours: what each does by its amount, and that no label moves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tinyfcn.data import ColourJitter, RandomBlur, RandomNoise, Sample


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


PIXELS = _rng().integers(0, 256, (30, 30, 3)).astype(np.uint8)
RANDOM = Sample("s", PIXELS, PIXELS[..., 0])
LARGEST: Any = SimpleNamespace(uniform=lambda least, most: most)  # draws it


def test_colour_jitter_moves_colours_and_no_labels():
    jittered = ColourJitter()(RANDOM, _rng())
    assert jittered.mask is RANDOM.mask and jittered.image.dtype == np.uint8
    assert (jittered.image != PIXELS).any()
    np.testing.assert_array_equal(ColourJitter(0, 0, 0)(RANDOM, _rng()).image, PIXELS)


def test_colour_jitter_stops_at_white():
    bright = Sample("s", np.full((2, 2, 3), 250, np.uint8), np.zeros((2, 2), np.uint8))
    values = [int(ColourJitter(0.2, 0, 0)(bright, _rng(s)).image.min()) for s in range(20)]
    assert min(values) >= 200 and values.count(255) > 5


def test_saturation_keeps_grey_and_brightness_scales():
    grey = Sample("s", np.full((3, 3, 3), 90, np.uint8), np.zeros((3, 3), np.uint8))
    np.testing.assert_array_equal(ColourJitter(0, 0.5, 0.9)(grey, _rng()).image, grey.image)
    red = Sample("s", np.full((3, 3, 3), (200, 50, 50), np.uint8), grey.mask)
    spread = [np.ptp(ColourJitter(0, 0, 0.5)(red, _rng(s)).image[0, 0]) for s in range(50)]
    assert 75 <= min(spread) < 100 and 200 < max(spread) <= 225
    values = [int(ColourJitter(0.5, 0, 0)(grey, _rng(s)).image[0, 0, 0]) for s in range(50)]
    assert 45 <= min(values) < 60 and 120 < max(values) <= 135


@pytest.mark.parametrize("deviation", [0.6, 1.0, 2.5])
def test_blur_spreads_a_point_by_its_deviation(deviation: float) -> None:
    image = np.zeros((41, 41, 3), np.uint8)
    image[18:23, 18:23] = 255
    sample = Sample("s", image, image[..., 0])
    blurred = RandomBlur(deviation)(sample, LARGEST)
    assert blurred.mask is sample.mask
    place = np.arange(41) - 20
    for before, after in (
        (image[..., 1], blurred.image[..., 1]),
        (image[..., 2].T, blurred.image[..., 2].T),
    ):
        spread = [
            (part.sum(axis=0) * place**2).sum() / part.sum()
            for part in (before.astype(float), after.astype(float))
        ]
        # Variances add; bytes round, which cuts the tails off.
        np.testing.assert_allclose(np.sqrt(spread[1] - spread[0]), deviation, rtol=0.1)


def test_blur_is_between_none_and_the_largest() -> None:
    rough = [RandomBlur(2)(RANDOM, _rng(seed)).image.std() for seed in range(40)]
    least = RandomBlur(2)(RANDOM, LARGEST).image.std()
    assert least <= min(rough) < 1.3 * least and max(rough) > 0.8 * PIXELS.std()
    np.testing.assert_array_equal(RandomBlur(0)(RANDOM, _rng()).image, PIXELS)


def test_noise_has_its_deviation_and_no_mean_and_stays_in_range() -> None:
    grey = Sample("s", np.full((80, 90, 3), 128, np.uint8), np.zeros((80, 90), np.uint8))
    rng = _rng()
    draws: Any = SimpleNamespace(uniform=LARGEST.uniform, standard_normal=rng.standard_normal)
    noisy = RandomNoise(0.1)(grey, draws)
    assert noisy.mask is grey.mask and noisy.image.dtype == np.uint8
    change = noisy.image.astype(int) - 128
    assert abs(change.mean()) < 1 and 24.5 < change.std() < 26.5
    channels = np.corrcoef(change.reshape(-1, 3).T)
    assert abs(channels[np.triu_indices(3, 1)]).max() < 0.05
    white = Sample("s", np.full((40, 40, 3), 255, np.uint8), grey.mask)
    bright = RandomNoise(0.1)(white, draws).image
    assert 0.4 < (bright == 255).mean() < 0.6 and bright.min() > 100
    np.testing.assert_array_equal(RandomNoise(0)(white, _rng()).image, white.image)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 1)])
def test_the_smallest_images(size: tuple[int, int]) -> None:
    sample = Sample("s", np.full((*size, 3), 9, np.uint8), np.zeros(size, np.uint8))
    for transform in (ColourJitter(), RandomBlur(3), RandomNoise(0.2)):
        assert transform(sample, _rng()).image.shape == (*size, 3)
