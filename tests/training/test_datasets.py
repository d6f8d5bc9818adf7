"""What training sees of an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinyfcn import models
from tinyfcn.cli.train_options import open_run, parse_options
from tinyfcn.data import DataError, Sample, write_mask
from tinyfcn.training.datasets import augmentation, open_datasets


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


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])  # some editors begin a file with a mark
def test_a_file_of_class_names(folder: Path, tmp_path: Path, start: bytes) -> None:
    (tmp_path / "names.txt").write_bytes(start + "Grund\n\nÄpfel\r\n".encode())
    options = parse_options(
        ["--data-root", str(folder), "--classes", str(tmp_path / "names.txt"),
         "--out", str(tmp_path / "run")]
    )  # fmt: skip
    training, validation = open_datasets(options, open_run(options))
    assert training.classes == validation.classes == ("Grund", "Äpfel")


def test_class_names_that_cannot_be_used(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_bytes("Grund\nÄpfel\n".encode("latin-1"))
    for arguments, words in (
        (["--classes", str(tmp_path / "names.txt")], r"names.txt: expected a text file in UTF-8"),
        (["--classes", "a,b", "--sbd-root", str(folder)], r"the data has 2 classes \(a, b\)$"),
        ([], "no class names; give them as classes .--classes."),
    ):
        command = ["--data-root", str(folder), "--out", str(tmp_path / "run"), *arguments]
        options = parse_options(command)
        with pytest.raises(DataError, match=words):
            open_datasets(options, open_run(options))
