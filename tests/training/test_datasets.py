"""What training sees of an image."""

from __future__ import annotations

import numpy as np
import pytest

from tinyfcn import models
from tinyfcn.data import Sample
from tinyfcn.training.datasets import augmentation
from tinyfcn.training.options import parse_options


@pytest.mark.parametrize(("crop", "side"), [(None, (236, 220)), (20, (204, 204)), (60, (252, 252))])
def test_a_network_without_padding_sees_more_than_is_scored(
    rng: np.random.Generator, crop: int | None, side: tuple[int, int]
) -> None:
    """An image of 50 x 30 whose labels are its red; U-Net scores all but 92 pixels on each side."""
    model = models.unet(width=1 / 64)
    image = rng.integers(0, 200, (50, 30, 3)).astype(np.uint8)
    sample = Sample("a", image, image[..., 0].copy())
    transform = augmentation(
        parse_options(["--no-flip"] + ([] if crop is None else ["--crop", str(crop)])), model
    )
    for seed in range(5):
        seen = transform(sample, np.random.default_rng(seed))
        assert seen.mask.shape == side
        labelled = seen.mask != 255
        np.testing.assert_array_equal(seen.mask[labelled], seen.image[labelled][:, 0])
        scored = seen.mask[92:-92, 92:-92]
        assert scored.shape == tuple(n - 184 for n in side)
        if crop == 20:
            assert (scored != 255).sum() >= 18 * 14  # of 52 x 36 places, 50 x 30 are in the image
        else:
            np.testing.assert_array_equal(scored[scored != 255], image[..., 0].ravel())
        # Pixels that get no score, and those beyond the border, show the image, not a filling.
        assert seen.image.max() < 200 and not (seen.image == (124, 116, 104)).all(axis=2).any()
