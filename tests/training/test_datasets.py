"""What training sees of an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinyfcn import models
from tinyfcn.data import DataError, Sample, write_mask
from tinyfcn.training.augmentation import augmentation
from tinyfcn.training.datasets import open_datasets


@pytest.mark.parametrize(("crop", "side"), [(None, (236, 220)), (20, (204, 204)), (60, (252, 252))])
def test_a_network_without_padding_sees_more_than_is_scored(
    rng: np.random.Generator, crop: int | None, side: tuple[int, int]
) -> None:
    """An image of 50 x 30 whose labels are its red; U-Net scores all but 92 pixels on each side."""
    model = models.unet(width=1 / 64)
    image = rng.integers(0, 200, (50, 30, 3)).astype(np.uint8)
    sample = Sample("a", image, image[..., 0].copy())
    transform = augmentation(model, crop, flip=False)
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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of two images and masks, one to train on and one to score on."""
    root = tmp_path / "data"
    for name, split in (("a", "train"), ("b", "val")):
        for part in ("images", "masks"):
            (root / part).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 3)).save(root / "images" / f"{name}.png")
        write_mask(root / "masks" / f"{name}.png", np.zeros((3, 4), np.uint8))
        (root / f"{split}.txt").write_text(f"{name}\n")
    return root


def test_class_names_that_cannot_be_used(folder: Path) -> None:
    with pytest.raises(DataError, match=r"the data has 2 classes \(a, b\)$"):
        open_datasets(folder, classes=["a", "b"], sbd_root=folder)
    with pytest.raises(DataError, match="mask_values=0:background names what masks hold"):
        open_datasets(folder)


def test_images_in_both_lists(folder: Path) -> None:
    (folder / "train.txt").write_text("a\nb\n")
    with pytest.raises(DataError, match="in both lists, train and val: 1 of 1, such as b; take"):
        open_datasets(folder, classes=["a", "b"])
    assert len(open_datasets(folder, "train", "train", ["a", "b"])[1]) == 2
