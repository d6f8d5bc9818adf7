"""Colours of classes can be told apart, by every eye; and masks in them are read as they were."""

from __future__ import annotations

import io
import itertools
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tinyfcn.data import (
    VOC_CLASSES,
    VOC_PALETTE,
    class_palette,
    is_background,
    read_mask,
    write_mask,
)

OWN = ["background", *(f"class {number}" for number in range(1, 61))]

# Machado, Oliveira, Fernandes 2009, table 1, severity 1.0, on linear RGB.
EYES = {
    "usual": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protan": [
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}  # fmt: skip


def lab(colours: object, eye: str = "usual") -> np.ndarray:
    """CIELAB under D65 of sRGB colours (N, 3) as an eye sees them."""
    share = np.asarray(colours) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    red, green, blue = np.clip(linear @ np.transpose(EYES[eye]), 0, 1).T
    x = (0.4124564 * red + 0.3575761 * green + 0.1804375 * blue) / 0.95047
    y = 0.2126729 * red + 0.7151522 * green + 0.0721750 * blue
    z = (0.0193339 * red + 0.1191920 * green + 0.9503041 * blue) / 1.08883
    fx, fy, fz = (
        np.where(t > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116) for t in (x, y, z)
    )
    return np.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], axis=1)


def apart(ones: object, others: object) -> np.ndarray:
    """How far each is from each, for the eye that tells them apart worst."""
    return np.min(
        [np.linalg.norm(lab(ones, eye)[:, None] - lab(others, eye), axis=2) for eye in EYES], axis=0
    )


def colours_of(classes: list[str], count: int) -> list[tuple[int, ...]]:
    palette = class_palette(classes)
    return [tuple(row) for row in palette[[*range(count), 255]].tolist()]


def test_the_model_of_this_test() -> None:
    """Published CIELAB values of the primaries, and greys, which no eye sees otherwise."""
    published = [(53.24, 80.09, 67.20), (87.74, -86.18, 83.18), (32.30, 79.19, -107.86)]
    np.testing.assert_allclose(lab(255 * np.eye(3)), published, atol=0.02)
    for eye in EYES:
        np.testing.assert_allclose(lab([(128, 128, 128)], eye), [(53.59, 0, 0)], atol=0.02)


# Background and void count. Of VOC's palette the first 8 are 3.9 apart, the 21 and void 1.0.
@pytest.mark.parametrize(("count", "least"), [(2, 46), (8, 14), (21, 14), (31, 12), (61, 7)])
def test_every_eye_tells_classes_apart(count: int, least: float) -> None:
    colours = colours_of(OWN, count)
    assert (apart(colours, colours) + 999 * np.eye(count + 1)).min() >= least


def test_each_colour_is_the_furthest_from_all_before() -> None:
    levels = [round(level * 255 / 7) for level in range(8)]
    grid = np.array([*itertools.product(levels, repeat=3)])
    lightness = lab(grid)[:, 0]
    grid = grid[(lightness > 20) & (lightness < 92)]
    own = class_palette([])[:255]
    distances = apart(grid, np.vstack([(0, 0, 0), (255, 255, 255), VOC_PALETTE[255], own]))
    for number, colour in enumerate(own[7:], 3 + 7):
        nearest = distances[:, :number].min(axis=1)
        assert nearest[(grid == colour).all(axis=1)] >= nearest.max() - 0.02


def test_vocs_classes_have_vocs_colours_and_no_others_have_them() -> None:
    np.testing.assert_array_equal(class_palette(VOC_CLASSES), VOC_PALETTE)
    np.testing.assert_array_equal(class_palette([*VOC_CLASSES]), VOC_PALETTE)
    for others in (VOC_CLASSES[:20], sorted(VOC_CLASSES), ["background", "cat"]):
        own = class_palette(others)
        assert (own[1] != VOC_PALETTE[1]).any()
        np.testing.assert_array_equal(own[255], VOC_PALETTE[255])


def test_black_is_a_background_and_nothing_else() -> None:
    assert class_palette(OWN)[0].tolist() == [0, 0, 0]
    assert class_palette(["cat", "_background_", "dog"])[1].tolist() == [0, 0, 0]
    np.testing.assert_array_equal(
        class_palette(["cat", "Background", "dog"])[[0, 2]], class_palette(OWN)[1:3]
    )
    assert class_palette(["sky", "sea"])[:255].any(axis=1).all()
    assert not is_background("background noise")


@pytest.mark.parametrize("count", [1, 2, 60, 255])
def test_every_index_has_a_colour_of_its_own(count: int) -> None:
    palette = class_palette([f"class {number}" for number in range(count)])
    assert palette.shape == (256, 3) and palette.dtype == np.uint8
    assert len(np.unique(palette, axis=0)) == 256


def test_more_classes_do_not_change_the_colours_of_those_before() -> None:
    np.testing.assert_array_equal(class_palette(OWN)[:5], class_palette(OWN[:5])[:5])


def test_masks_in_these_colours_are_read_by_us_and_by_others() -> None:
    mask = np.random.default_rng(0).integers(0, 256, (20, 30)).astype(np.uint8)
    palette, file = class_palette(OWN), io.BytesIO()
    write_mask(file, mask, palette)
    data = file.getvalue()
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image), mask)
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), palette[mask])
    # By hand, as the PNG specification says: 8 bits, colour type 3, rows after a filter byte.
    chunks, place = {}, 8
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        name = data[place + 4 : place + 8]
        chunks[name] = chunks.get(name, b"") + data[place + 8 : place + 8 + length]
        place += length + 12
    assert struct.unpack(">IIBB", chunks[b"IHDR"][:10]) == (30, 20, 8, 3)
    assert chunks[b"PLTE"] == palette.tobytes()
    assert len(zlib.decompress(chunks[b"IDAT"])) == 20 * 31


def test_our_reader_takes_them_as_indices_and_in_rgb_with_the_palette(tmp_path) -> None:
    mask, palette = np.array([[0, 1, 2, 60, 255]], np.uint8), class_palette(OWN)
    write_mask(tmp_path / "a.png", mask, palette)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), mask)
    Image.fromarray(palette[mask]).save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "b.png", palette), mask)
