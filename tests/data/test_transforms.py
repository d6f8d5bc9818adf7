"""Augmentation moves image and mask alike, and invents no label."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyfcn.data import (
    ColourJitter,
    Compose,
    MirrorBorder,
    RandomBlur,
    RandomCrop,
    RandomHorizontalFlip,
    RandomNoise,
    RandomScale,
    RandomTurn,
    RandomVerticalFlip,
    RandomWarp,
    Resize,
    Sample,
)

MEAN = (124, 116, 104)


def _sample(height: int, width: int) -> Sample:
    """Each pixel's colour tells its place, and its label is a function of the colour."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows, columns, (rows * 7 + columns) % 21], -1).astype(np.uint8)
    return Sample("s", image, image[..., 2].copy())


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_flip_turns_image_and_mask_or_neither():
    sample = _sample(5, 8)
    kept, turned = RandomHorizontalFlip(0)(sample, _rng()), RandomHorizontalFlip(1)(sample, _rng())
    assert kept is sample
    for column in range(8):
        np.testing.assert_array_equal(turned.image[:, column], sample.image[:, 7 - column])
        np.testing.assert_array_equal(turned.mask[:, column], sample.mask[:, 7 - column])
    flips = [RandomHorizontalFlip()(sample, _rng(seed)) is not sample for seed in range(400)]
    assert 150 < sum(flips) < 250


def test_upside_down():
    sample = _sample(5, 8)
    assert RandomVerticalFlip(0)(sample, _rng()) is sample
    turned = RandomVerticalFlip(1)(sample, _rng())
    for row in range(5):
        np.testing.assert_array_equal(turned.image[row], sample.image[4 - row])
        np.testing.assert_array_equal(turned.mask[row], sample.mask[4 - row])


def test_turns_are_those_of_a_square_and_all_as_likely():
    """The upper left corner goes to each corner; the colours tell where the rest has gone."""
    sample = _sample(3, 5)
    went = []
    for seed in range(400):
        turned = RandomTurn()(sample, _rng(seed))
        (corner,) = np.argwhere((turned.image[..., :2] == 0).all(axis=2)).tolist()
        went.append((turned.mask.shape, *corner))
        np.testing.assert_array_equal(turned.image[..., 2], turned.mask)
        row, column = turned.image[..., 0].astype(int), turned.image[..., 1].astype(int)
        # A turn and no mirror: from rows to columns of the sample it goes the same way round.
        (down, right), (down_c, right_c) = (
            (np.diff(axis, axis=0).mean(), np.diff(axis, axis=1).mean()) for axis in (row, column)
        )
        assert down * right_c - right * down_c == 1
    places = [((3, 5), 0, 0), ((5, 3), 4, 0), ((3, 5), 2, 4), ((5, 3), 0, 2)]
    assert sorted(set(went)) == sorted(places)
    assert all(60 < went.count(place) < 140 for place in places)
    np.testing.assert_array_equal(RandomTurn(0)(sample, _rng()).image, sample.image)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 40), width=st.integers(1, 40),
    window=st.tuples(st.integers(1, 40), st.integers(1, 40)), seed=st.integers(0, 99),
)  # fmt: skip
def test_crop_is_a_window_with_void_outside(height, width, window, seed):
    sample = _sample(height, width)
    crop = RandomCrop(window)(sample, _rng(seed))
    assert crop.mask.shape == window and crop.image.shape == (*window, 3)
    inside = crop.mask != 255
    assert inside.sum() == min(height, window[0]) * min(width, window[1])
    assert (crop.image[~inside] == MEAN).all()
    # The colours tell where each pixel came from: neighbours stay neighbours, in one rectangle.
    rows, columns = np.nonzero(inside)
    shift_rows = crop.image[..., 0][inside].astype(int) - rows
    shift_columns = crop.image[..., 1][inside].astype(int) - columns
    assert len(set(shift_rows)) == len(set(shift_columns)) == 1
    np.testing.assert_array_equal(crop.image[..., 2][inside], crop.mask[inside])


def test_crop_reaches_every_place():
    corners = {
        tuple(RandomCrop((2, 3))(_sample(4, 4), _rng(seed)).image[0, 0, :2].tolist())
        for seed in range(200)
    }
    assert corners == {(row, column) for row in range(3) for column in range(2)}
    places = {
        tuple(np.argwhere(RandomCrop(3)(_sample(2, 2), _rng(seed)).mask != 255)[0].tolist())
        for seed in range(200)
    }
    assert places == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_scale_changes_the_size_and_invents_no_label():
    mask = np.random.default_rng(1).choice(np.array([0, 3, 20, 255], np.uint8), (30, 44))
    sample = Sample("s", np.full((30, 44, 3), 77, np.uint8), mask)
    sizes = set()
    for seed in range(30):
        scaled = RandomScale(0.5, 2.0)(sample, _rng(seed))
        assert scaled.image.shape[:2] == scaled.mask.shape
        assert set(np.unique(scaled.mask)) <= {0, 3, 20, 255}
        assert (scaled.image == 77).all()
        assert 15 <= scaled.mask.shape[0] <= 60 and 22 <= scaled.mask.shape[1] <= 88
        sizes.add(scaled.mask.shape)
    assert len(sizes) > 15


def test_doubling_repeats_labels_and_interpolates_colours():
    sample = _sample(6, 7)
    scaled = RandomScale(2, 2)(sample, _rng())
    np.testing.assert_array_equal(scaled.mask, sample.mask.repeat(2, 0).repeat(2, 1))
    # Between rows r and r + 1 the two new rows lie at r + 1/4 and r + 3/4.
    exact = (np.arange(12) + 0.5) / 2 - 0.5
    np.testing.assert_allclose(scaled.image[1:-1, 0, 0], exact[1:-1], atol=0.51)


@pytest.mark.parametrize(
    ("size", "shape", "expected"),
    [
        ((), (30, 44), (30, 44)),
        ((22,), (30, 44), (15, 22)),
        ((88,), (44, 30), (88, 60)),
        ((500,), (1, 3000), (1, 500)),
        ((7, 50), (30, 44), (7, 50)),
    ],
)
def test_resize_to_a_longest_side_or_to_both(size, shape, expected):
    resized = Resize(size)(_sample(*shape))
    assert resized.mask.shape == expected and resized.image.shape == (*expected, 3)
    assert Resize(size).shape(*shape) == expected


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    size=st.tuples(st.integers(1, 50), st.integers(1, 50)),
)
def test_resize_takes_the_nearest_label(shape, size):
    sample = _sample(*shape)
    resized = Resize(size)(sample)
    # The middle of each new pixel, in the old ones; in whole numbers, as Pillow's may round.
    rows, columns = (
        (2 * np.arange(new) + 1) * old / (2 * new) for new, old in zip(size, shape, strict=True)
    )
    for shift in (-1e-6, 1e-6):
        near = np.ix_(
            *(np.clip((place + shift).astype(int), 0, length - 1)
              for place, length in zip((rows, columns), shape, strict=True))
        )  # fmt: skip
        exact = [abs(place - place.round()) > 1e-6 for place in (rows, columns)]
        found = np.ix_(*exact)
        np.testing.assert_array_equal(resized.mask[found], sample.mask[near][found])


def test_scale_takes_a_flipped_sample():
    flipped = RandomHorizontalFlip(1)(_sample(6, 7), _rng())
    np.testing.assert_array_equal(RandomScale(1, 1)(flipped, _rng()).image, flipped.image)


def test_mirror_border():
    """4 more at the top and on the left, 7 or 5 at the other ends; a mirror has no double edge."""
    sample = _sample(9, 3)
    seen = MirrorBorder(4, lambda n: {9: 20, 3: 12}[n])(sample)
    rows = [4, 3, 2, 1, *range(9), 7, 6, 5, 4, 3, 2, 1]
    columns = [0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2, 1]
    np.testing.assert_array_equal(seen.image, sample.image[rows][:, columns])
    np.testing.assert_array_equal(seen.mask[4:13, 4:7], sample.mask)
    seen.mask[4:13, 4:7] = 255
    assert seen.mask.shape == (20, 12) and (seen.mask == 255).all()


def test_the_generator_alone_decides():
    transform = Compose(RandomScale(0.5, 2), RandomCrop(32), RandomHorizontalFlip(), ColourJitter())
    sample = _sample(40, 50)
    first, again, other = (transform(sample, _rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.mask, again.mask)
    assert (first.mask != other.mask).any()
    assert "RandomCrop(size=(32, 32))" in repr(transform)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: RandomHorizontalFlip(1.5), r"probability must be in \[0, 1\], got 1.5"),
        (lambda: RandomScale(2, 1), "low=2, high=1"),
        (lambda: RandomScale(0, 1), "0 < low"),
        (lambda: RandomCrop(0), "positive numbers, got 0"),
        (lambda: Resize((0,)), r"a longest side, or height and width, .* got \(0,\)"),
        (lambda: Resize((4, 5, 6)), r"got \(4, 5, 6\)"),
        (lambda: Resize((4.5,)), r"got \(4.5,\)"),
        (lambda: RandomVerticalFlip(-1), r"RandomVerticalFlip: probability must be .* got -1"),
        (lambda: RandomTurn(2), r"RandomTurn: probability must be in \[0, 1\], got 2"),
        (lambda: ColourJitter(contrast=2), r"contrast must be in \[0, 1\], got 2"),
        (lambda: RandomBlur(-1), r"RandomBlur: deviation must be in \[0, 100\], got -1"),
        (lambda: RandomNoise(float("nan")), r"RandomNoise: deviation must be .* got nan"),
        (lambda: RandomWarp(size=0), "RandomWarp: size must be one or two positive numbers"),
    ],
)
def test_wrong_arguments_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()
