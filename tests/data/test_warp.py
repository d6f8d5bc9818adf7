"""Rotation and elastic deformation, by an image whose colours tell where each pixel came from."""

from __future__ import annotations

import tracemalloc
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tinyfcn.data import RandomCrop, RandomWarp, Sample, warp

MEAN = (124, 116, 104)
SCALE = 4  # levels of colour from a pixel to the next


def _ramp(height: int, width: int, label: str = "row") -> Sample:
    """Red tells the row and green the column, between pixels too; blue is 0, the filling 104."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows * SCALE, columns * SCALE, 0 * rows], -1).astype(np.uint8)
    return Sample("s", image, (rows if label == "row" else columns).astype(np.uint8))


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def _drawing(side: int = 1, start: int | None = None) -> Any:
    """Draws the largest angle, or with -1 the smallest, and the given place of a window."""
    return SimpleNamespace(
        uniform=lambda *ends: ends[side > 0],
        integers=lambda least, end: least if start is None else start,
    )


def _places(seen: Sample) -> NDArray[np.float64]:
    """The rows and columns of the ramp that are seen, (2, H, W); NaN outside."""
    places = seen.image[..., :2].transpose(2, 0, 1) / SCALE
    places[:, seen.mask == 255] = np.nan
    return places


@settings(max_examples=80, deadline=None)
@given(
    height=st.integers(1, 60), width=st.integers(1, 60),
    size=st.none() | st.tuples(st.integers(1, 50), st.integers(1, 50)),
    degrees=st.sampled_from([0.0, 10.0, 180.0]), elastic=st.sampled_from([0.0, 2.0, 9.0]),
    seed=st.integers(0, 999),
)  # fmt: skip
def test_labels_are_those_of_the_nearest_pixel_and_void_is_where_the_filling_is(
    height: int, width: int, size: tuple[int, int] | None, degrees: float, elastic: float, seed: int
) -> None:
    warp = RandomWarp(degrees, elastic, size)
    seen, columns = (warp(_ramp(height, width, label), _rng(seed)) for label in ("row", "column"))
    assert seen.mask.shape == (size or (height, width)) == seen.image.shape[:2]
    assert seen.image.dtype == seen.mask.dtype == np.uint8
    np.testing.assert_array_equal(seen.image, columns.image)
    outside = seen.mask == 255
    np.testing.assert_array_equal(outside, columns.mask == 255)
    np.testing.assert_array_equal(outside, seen.image[..., 2] == MEAN[2])
    assert (seen.image[outside] == MEAN).all()
    for mask, place in zip((seen.mask, columns.mask), _places(seen), strict=True):
        # Half a pixel, and what bytes cut off.
        assert (abs(mask[~outside] - place[~outside]) <= 0.5 + 1 / SCALE).all()


@settings(max_examples=30, deadline=None)
@given(
    sample=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    size=st.tuples(st.integers(1, 30), st.integers(1, 30)), seed=st.integers(0, 99),
)  # fmt: skip
def test_without_amounts_it_is_a_crop(
    sample: tuple[int, int], size: tuple[int, int], seed: int
) -> None:
    seen, crop = (kind(size=size)(_ramp(*sample), _rng(seed)) for kind in (RandomWarp, RandomCrop))
    np.testing.assert_array_equal(seen.mask, crop.mask)
    np.testing.assert_array_equal(seen.image, crop.image)


@pytest.mark.parametrize(("degrees", "quarters"), [(90, 1), (180, 2)])
def test_quarter_turns_are_exact(degrees: int, quarters: int) -> None:
    sample = _ramp(31, 31)
    seen = RandomWarp(degrees)(sample, _drawing())
    np.testing.assert_array_equal(seen.mask, np.rot90(sample.mask, quarters))
    turned = np.rot90(sample.image, quarters).astype(int)
    assert abs(seen.image - turned).max() <= 1  # Pillow cuts what is behind the point
    back = RandomWarp(degrees)(sample, _drawing(-1))
    np.testing.assert_array_equal(back.mask, np.rot90(sample.mask, -quarters))


@pytest.mark.parametrize("degrees", [5, 20, 45, 77])
@pytest.mark.parametrize(("side", "sign"), [(1, 1), (-1, -1)])
def test_a_turn_keeps_the_centre_and_all_distances(degrees: int, side: int, sign: int) -> None:
    seen = RandomWarp(degrees)(_ramp(51, 41), _drawing(side))
    rows, columns = _places(seen)
    np.testing.assert_allclose((rows[25, 20], columns[25, 20]), (25, 20), atol=1 / SCALE)
    inner = np.s_[18:33, 13:28]  # off the border, where colours are cut
    down = [np.diff(place[inner], axis=0).mean() for place in (rows, columns)]
    right = [np.diff(place[inner], axis=1).mean() for place in (rows, columns)]
    angle = np.deg2rad(sign * degrees)
    np.testing.assert_allclose(down, (np.cos(angle), -np.sin(angle)), atol=0.02)
    np.testing.assert_allclose(right, (np.sin(angle), np.cos(angle)), atol=0.02)


def test_the_corners_of_a_turned_square_are_void_and_its_middle_is_not() -> None:
    mask = RandomWarp(45)(_ramp(40, 40), _drawing()).mask
    assert {int(mask[row, column]) for row in (0, -1) for column in (0, -1)} == {255}
    assert (mask[10:30, 10:30] != 255).all()
    # Of a square turned by 45 degrees an octagon is left: 2 (sqrt 2 - 1) of it.
    assert abs((mask != 255).mean() - 2 * (np.sqrt(2) - 1)) < 0.02


def test_a_window_shows_what_lies_beyond_it() -> None:
    seen = RandomWarp(45, size=16)(_ramp(60, 60), _drawing(start=20))
    assert (seen.mask != 255).all()
    rows, columns = _places(seen)
    np.testing.assert_allclose((rows[7:9, 7:9].mean(), columns[7:9, 7:9].mean()), 27.5, atol=0.3)


def test_there_and_back() -> None:
    rows, columns = np.mgrid[:64, :64] - 31.5
    mask = (np.hypot(rows - 6, columns + 4) < 15).astype(np.uint8) * 3
    sample = Sample("s", np.repeat(mask[..., None] * 50, 3, axis=2), mask)
    there = RandomWarp(33)(sample, _drawing())
    back = RandomWarp(33)(there, _drawing(-1))
    assert (there.mask != mask).mean() > 0.05
    known = back.mask != 255
    assert (back.mask[known] != mask[known]).mean() < 0.01
    # The image was an image of the labels, and is one still, but for edges.
    assert (abs(there.image[..., 0] / 50.0 - there.mask) > 1.6)[there.mask != 255].mean() < 0.01


def test_bending_is_smooth_and_of_the_size_that_was_asked_for() -> None:
    moved = []
    for seed in range(12):
        places = _places(RandomWarp(elastic=3, size=40)(_ramp(62, 62), _rng(seed)))
        places = places[:, 8:-8, 8:-8]
        if np.isnan(places).any():
            continue
        identity = np.mgrid[: places.shape[1], : places.shape[2]]
        change = places - identity
        moved.append(change - change.mean(axis=(1, 2), keepdims=True))
        for axis in (1, 2):
            assert abs(np.diff(change, axis=axis)).max() < 0.7  # neighbours stay neighbours
    assert len(moved) > 4
    assert 0.3 < np.std(moved) < 3
    by_itself = RandomWarp(elastic=3)(_ramp(62, 62), _rng(1))
    assert (by_itself.mask == 255).mean() < 0.3


def test_the_generator_alone_decides() -> None:
    warp, sample = RandomWarp(30, 4, 24), _ramp(40, 50)
    first, again, other = (warp(sample, _rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.mask, again.mask)
    assert (first.mask != other.mask).any()


def test_a_large_image_costs_no_more_than_the_window() -> None:
    """24 million pixels that are one in memory: a copy of them would be seen."""
    image = np.broadcast_to(np.uint8([7, 8, 9]), (4000, 6000, 3))
    sample = Sample("s", image, np.broadcast_to(np.uint8(1), (4000, 6000)))
    tracemalloc.start()
    try:
        seen = RandomWarp(45, 5, 128)(sample, _rng())
        assert tracemalloc.get_traced_memory()[1] < 4e6
    finally:
        tracemalloc.stop()
    inside = seen.mask != 255
    assert inside.any() and (seen.image[inside] == (7, 8, 9)).all()


def test_what_is_cut_away_of_a_large_image_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    image = _rng().integers(0, 256, (60, 70, 3)).astype(np.uint8)
    sample = Sample("s", image, image[..., 0])
    seen, whole = [], []
    for found in (seen, whole):
        found += [RandomWarp(60, 8, 9)(sample, _rng(seed)) for seed in range(60)]
        monkeypatch.setattr(warp, "_part", lambda places, size: slice(0, size))
    for one, other in zip(seen, whole, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.mask, other.mask)
