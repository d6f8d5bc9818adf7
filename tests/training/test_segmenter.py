"""A trained network in code: whatever a picture comes as, and what is said of it."""

from __future__ import annotations

import base64
import io
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import models
from tinyfcn.data import TORCHVISION, DataError
from tinyfcn.training import checkpoint, evaluation
from tinyfcn.training.evaluation import predict
from tinyfcn.training.model_spec import ModelSpec
from tinyfcn.training.overlap_tile import SCRATCH, bytes_per_pixel

SPEC = ModelSpec("segnet_basic", ("background", "cat", "dog"), {"width": 1 / 32})
SMOOTH = np.random.default_rng(1).integers(0, 256, (7, 9, 3)).astype(np.uint8)
IMAGE = np.asarray(Image.fromarray(SMOOTH).resize((90, 70), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "best.npz"
    model = SPEC.build()
    random = np.random.default_rng(0)
    for p in model.parameters():
        p.data[...] = random.normal(0, 1, p.shape) / np.sqrt(max(1, np.prod(p.shape[1:])))
    with tinyfcn.no_grad():  # every class is somewhere
        scores = model.eval()(tinyfcn.tensor(TORCHVISION.apply(IMAGE)[None])).numpy()
    model.score.bias.data -= scores.mean((0, 2, 3))
    checkpoint.save(path, {"model": model.state_dict(), "description": SPEC.to_dict()})
    return path


@pytest.fixture
def image() -> Any:
    return IMAGE


def test_a_file_a_picture_and_an_array_are_labelled_alike(
    weights: Path, image: Any, tmp_path: Path
) -> None:
    segmenter = tinyfcn.Segmenter(weights)
    named = "Segmenter(segnet_basic for 3 classes (width 0.03125): background, cat, dog)"
    assert repr(segmenter) == named
    picture = Image.fromarray(image)
    picture.save(tmp_path / "a.png")
    results = [segmenter(p) for p in (tmp_path / "a.png", str(tmp_path / "a.png"), picture, image)]
    for result in results:
        assert np.array_equal(result.mask, results[0].mask)
        assert np.array_equal(result.probabilities, results[0].probabilities)
        assert result.probabilities.dtype == np.float32 and result.mask.dtype == np.uint8
        assert np.array_equal(result.probabilities.argmax(0), result.mask)
        assert result.overlay.width >= 90
    assert len(np.unique(results[0].mask)) > 1
    grey = segmenter(image[..., 0])
    assert np.array_equal(grey.mask, segmenter(Image.fromarray(image[..., 0])).mask)


def test_photos_are_turned_upright(weights: Path, image: Any, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = Image.fromarray(np.rot90(image))
    turned.save(tmp_path / "a.png", exif=exif)
    segmenter = tinyfcn.Segmenter(weights)
    mask = segmenter(image).mask
    with Image.open(tmp_path / "a.png") as picture:
        assert np.array_equal(segmenter(picture).mask, mask)
    assert np.array_equal(segmenter(tmp_path / "a.png").mask, mask)


def test_views_are_averaged(weights: Path, image: Any) -> None:
    plain = tinyfcn.Segmenter(weights)
    flipped = tinyfcn.Segmenter(weights, flip=True)(image)
    both = [plain(image).probabilities, plain(image[:, ::-1]).probabilities[..., ::-1]]
    assert np.allclose(flipped.probabilities, (both[0] + both[1]) / 2, atol=1e-6)
    assert np.array_equal(flipped.mask, flipped.probabilities.argmax(0))
    assert np.array_equal(tinyfcn.Segmenter(weights, scales=(1, 1))(image).mask, plain(image).mask)
    scaled = tinyfcn.Segmenter(weights, scales=(0.5, 1, 1.31))(image[:67, :83]).probabilities
    assert scaled.shape == (3, 67, 83) and np.allclose(scaled.sum(0), 1, atol=1e-5)
    x = tinyfcn.tensor(TORCHVISION.apply(image[:60, :80])[None])
    with tinyfcn.no_grad():
        small = F.softmax(plain.model(F.interpolate(x, (30, 40), mode="bilinear")), 1)
        large = F.interpolate(small, (60, 80), mode="bilinear").numpy()[0]
    only = tinyfcn.Segmenter(weights, scales=[0.5])(image[:60, :80]).probabilities
    assert np.allclose(only, large, atol=1e-6)


def test_large_pictures_are_labelled_in_tiles(
    weights: Path, image: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = np.tile(image, (2, 6, 1))
    whole = tinyfcn.Segmenter(weights)(large)
    each = SCRATCH * bytes_per_pixel(SPEC.build(), 3)
    tiles = 0.7 * 140 * 540 * each
    tiled = tinyfcn.Segmenter(weights, max_memory=tiles)(large)
    assert (whole.note, bool(re.fullmatch(r"\d+ tiles", tiled.note))) == ("", True)
    assert np.array_equal(tiled.mask, whole.mask)
    assert np.allclose(tiled.probabilities, whole.probabilities, atol=1e-5)
    both = tinyfcn.Segmenter(weights, max_memory=tiles, probabilities=True)(large)
    monkeypatch.setattr(evaluation, "tiles", None)  # no second pass
    assert np.array_equal(both.probabilities, tiled.probabilities)


def test_several_threads_use_it(weights: Path, image: Any) -> None:
    """Each plans its tiles meanwhile, with a copy of the network."""
    pictures = [np.roll(np.tile(image, (1, 8, 1)), shift, 1) for shift in (0, 20, 40)]
    each = SCRATCH * bytes_per_pixel(SPEC.build(), 3)
    segmenter = tinyfcn.Segmenter(weights, max_memory=0.7 * 70 * 720 * each)
    alone = [segmenter(picture).mask for picture in pictures]
    with ThreadPoolExecutor(3) as pool:
        for mask, result in zip(alone, pool.map(segmenter, pictures), strict=True):
            assert "tiles" in result.note and np.array_equal(mask, result.mask)


def test_pictures_are_resized_as_in_training(weights: Path, image: Any) -> None:
    plain, small = tinyfcn.Segmenter(weights), tinyfcn.Segmenter(weights)
    small.spec = replace(small.spec, preprocessing=replace(TORCHVISION, resize=(45,)))
    expected = plain(Image.fromarray(image).resize((45, 35), Image.Resampling.BILINEAR))
    result = small(image)
    assert np.array_equal(result.mask, predict(small.model, [image], small.spec.preprocessing)[0])
    assert np.array_equal(result.mask[::2, ::2], expected.mask)
    assert np.array_equal(result.probabilities.argmax(0), result.mask)
    assert result.probabilities.shape == (3, 70, 90)


def test_a_notebook_shows_it(weights: Path, image: Any) -> None:
    result = tinyfcn.Segmenter(weights)(np.tile(image, (12, 12, 1)))
    (code,) = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)"', result._repr_html_())
    with Image.open(io.BytesIO(base64.b64decode(code))) as shown:
        assert 1000 < max(shown.size) < 1400
    assert re.fullmatch(r"Segmentation\(1080 x 840: (\w+ \d+\.\d%(, )?){1,3}\)", repr(result))


def test_what_it_cannot_use_is_refused(weights: Path, image: Any, tmp_path: Path) -> None:
    segmenter = tinyfcn.Segmenter(weights)
    for wrong in (image > 9, image[:0], np.zeros(3, np.uint8)):
        with pytest.raises(DataError, match=r"array \(H, W, 3\) or \(H, W\) of numbers, got "):
            segmenter(wrong)
    with pytest.raises(DataError, match=r"the picture: .* values from 0 to 1; make them uint8"):
        segmenter(image / image.max())
    with pytest.raises(DataError, match=r"the picture: expected an opaque image, .* channels=2"):
        segmenter(image[..., :2])
    with pytest.raises(DataError, match="the picture: expected an opaque image, got alpha"):
        segmenter(Image.new("RGBA", (4, 4)))
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        segmenter(tmp_path / "none.png")
    for scales in ((), (0.0,), (float("nan"),)):
        with pytest.raises(ValueError, match=r"scales must be numbers from 0\.1 to 10"):
            tinyfcn.Segmenter(weights, scales=scales)
    about = ModelSpec("vgg11", ("a", "b"), {"width": 1 / 64})
    with tinyfcn.backend.using("numpy"):
        state = models.create("vgg11", num_classes=2, width=1 / 64).state_dict()
    checkpoint.save(tmp_path / "a.npz", {"model": state, "description": about.to_dict()})
    with pytest.raises(ValueError, match="vgg11 labels whole images, not their pixels"):
        tinyfcn.Segmenter(tmp_path / "a.npz")
