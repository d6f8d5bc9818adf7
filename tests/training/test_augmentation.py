"""What ``--augment`` asks for, and in which order it is done."""

from __future__ import annotations

import numpy as np
import pytest

from tinyfcn import models
from tinyfcn.data import DataLoader, Preprocessing, Sample
from tinyfcn.nn import Module
from tinyfcn.training.augmentation import KINDS, amounts, augmentation, augmented_sheet
from tinyfcn.visualize import overlay


@pytest.fixture(scope="module")
def model() -> Module:
    return models.fcn32s(num_classes=2, width=1 / 64)


def test_amounts() -> None:
    assert amounts("none") == dict.fromkeys(KINDS, 0.0)
    asked = amounts("rotate=20, elastic ,turns,noise=0.1")
    assert {kind: amount for kind, amount in asked.items() if amount} == {
        "rotate": 20, "elastic": 5, "turns": 0.75, "noise": 0.1,
    }  # fmt: skip
    assert amounts("blur=0")["blur"] == 0
    assert amounts("rotate=180")["rotate"] == 180


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rotat=3", r"expected none, or some of rotate=15 \(to 180\), .* got 'rotat=3'"),
        ("rotat=0", "got 'rotat=0'"),
        ("", "got ''"),
        ("turns,", "got ''"),
        ("none,turns", "got 'none'"),
        ("rotate=200", "got 'rotate=200'"),
        ("noise=", "to float: ''"),
        ("turns,noise=nan", "got 'noise=nan'"),
        ("elastic=-1", "got 'elastic=-1'"),
        ("blur=x", "to float: 'x'"),
    ],
)
def test_what_cannot_be_asked_for(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        amounts(text)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, "RandomHorizontalFlip(probability=0.5)"),
        ({"flip": False, "augment": "vertical-flip"}, "RandomVerticalFlip(probability=0.5)"),
        ({"crop": 32, "flip": False}, "RandomCrop(size=(32, 32))"),
        ({"resize": (64,), "jitter": 0.5, "flip": False},
         "Resize(size=(64,)), RandomScale(low=0.5, high=1.5)"),
        ({"crop": 32, "flip": False, "augment": "elastic=4"},
         "RandomWarp(degrees=0.0, elastic=4.0, size=(32, 32))"),
        ({"flip": False, "augment": "rotate=0,turns=0"}, ""),
        ({"jitter": 0.25, "augment": "noise,blur,turns,rotate", "colour_jitter": 0.5},
         "RandomScale(low=0.75, high=1.25), RandomWarp(degrees=15, elastic=0.0, size=None), "
         "RandomHorizontalFlip(probability=0.5), "
         "ColourJitter(brightness=0.5, contrast=0.5, saturation=0.5), "
         "RandomTurn(probability=0.75), RandomBlur(deviation=1), RandomNoise(deviation=0.05)"),
    ],
)  # fmt: skip
def test_the_order(model: Module, arguments: dict[str, object], expected: str) -> None:
    assert repr(augmentation(model, **arguments)) == f"Compose({expected})"  # type: ignore[arg-type]


def test_all_of_it_on_a_network_without_padding(rng: np.random.Generator) -> None:
    """A window that U-Net takes, whose labels are those of the image under them."""
    image = rng.integers(0, 200, (70, 50, 3)).astype(np.uint8)
    flat = Sample("a", np.full_like(image, 60), np.full(image.shape[:2], 1, np.uint8))
    transform = augmentation(
        models.unet(width=1 / 64), 20, 0.2, 0, True, "rotate,elastic,vertical-flip,turns"
    )
    for seed in range(5):
        seen = transform(flat, np.random.default_rng(seed))
        assert seen.mask.shape == (204, 204)
        assert (seen.image[seen.mask == 1] == 60).all() and (seen.mask == 1).any()


def test_the_sheet_shows_what_the_first_epochs_will_see() -> None:
    """A column each, as high as the image: nothing is scaled."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (192, 150, 3)).astype(np.uint8)
    mask = rng.integers(0, 3, (192, 150)).astype(np.uint8)
    plain = Preprocessing("RGB", 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    transform = augmentation(models.fcn32s(num_classes=3, width=1 / 64), augment="elastic,blur")
    loader = DataLoader(
        [Sample("a", image, mask)], transform=transform, preprocessing=plain, seed=7
    )
    classes = ["background", "left", "right"]
    sheet = np.asarray(augmented_sheet(loader, classes))
    expected = [overlay(image, mask, classes, legend=False)]
    for _ in range(4):
        (batch,) = loader
        seen = batch.images[0].transpose(1, 2, 0).astype(np.uint8)
        expected.append(overlay(seen, batch.labels[0], classes, legend=False))
    assert len({picture.tobytes() for picture in expected}) == 5
    side_by_side = np.full((192, 5 * 158, 3), 255, np.uint8)
    for number, picture in enumerate(expected):
        side_by_side[:, number * 158 : number * 158 + 150] = picture
    tops = range(20, 60)  # titles stand above
    assert any(
        np.array_equal(sheet[top : top + 192, 8:], side_by_side[:, : sheet.shape[1] - 8])
        for top in tops
    )
