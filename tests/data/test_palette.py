"""The colours of Pascal VOC, and the way from indices to colours and back."""

from __future__ import annotations

import numpy as np
import pytest

from tinyfcn.data import VOC_CLASSES, VOC_PALETTE, index_to_rgb, rgb_to_index, voc_palette

# The published colours of the 21 classes, in order, and that of void.
COLOURS = [
    (0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128),
    (0, 128, 128), (128, 128, 128), (64, 0, 0), (192, 0, 0), (64, 128, 0), (192, 128, 0),
    (64, 0, 128), (192, 0, 128), (64, 128, 128), (192, 128, 128), (0, 64, 0), (128, 64, 0),
    (0, 192, 0), (128, 192, 0), (0, 64, 128),
]  # fmt: skip


def test_palette_has_the_published_colours():
    assert [tuple(row) for row in VOC_PALETTE[:21].tolist()] == COLOURS
    assert tuple(VOC_PALETTE[255].tolist()) == (224, 224, 192)
    assert VOC_PALETTE.shape == (256, 3) and VOC_PALETTE.dtype == np.uint8
    assert len(np.unique(VOC_PALETTE, axis=0)) == 256
    np.testing.assert_array_equal(voc_palette(21), VOC_PALETTE[:21])


def test_class_names():
    assert len(VOC_CLASSES) == 21
    assert (VOC_CLASSES[0], VOC_CLASSES[15], VOC_CLASSES[20]) == (
        "background", "person", "tvmonitor",
    )  # fmt: skip


def test_every_index_survives_the_way_to_colours_and_back():
    mask = np.random.default_rng(0).permutation(256).astype(np.uint8).reshape(8, 32)
    rgb = index_to_rgb(mask)
    assert rgb.shape == (8, 32, 3) and rgb.dtype == np.uint8
    np.testing.assert_array_equal(rgb_to_index(rgb), mask)


def test_a_colour_twice_in_the_palette_becomes_the_lower_index():
    palette = np.array([[9, 9, 9], [1, 2, 3], [9, 9, 9]], np.uint8)
    assert rgb_to_index(palette[None], palette).tolist() == [[0, 1, 0]]


def test_unknown_colour_is_named_with_its_first_place():
    rgb = np.zeros((3, 4, 3), np.uint8)
    rgb[1, 2] = (127, 0, 0)
    rgb[2, 0] = (5, 5, 5)
    with pytest.raises(ValueError, match=r"\(127, 0, 0\) at row 1, column 2 .* \(2 of 12 pixels"):
        rgb_to_index(rgb)


def test_an_index_outside_the_palette_is_rejected():
    with pytest.raises(ValueError, match=r"\[0, 3\).* range from 0 to 7"):
        index_to_rgb(np.array([[0, 7]]), voc_palette(3))
    with pytest.raises(ValueError, match="range from -1"):
        index_to_rgb(np.array([[-1]]))


def test_rgb_to_index_wants_bytes_of_three_channels():
    with pytest.raises(ValueError, match=r"uint8 \(H, W, 3\), but is float64 \(2, 2, 3\)"):
        rgb_to_index(np.zeros((2, 2, 3)))
