"""Pictures: what colour which pixel has, and what the legend lists."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tinyfcn.data import class_palette
from tinyfcn.metrics import SCORES, scores
from tinyfcn.visualize import overlay, plot_confusion, plot_curves, sheet, written

CLASSES = ["background", "cat", "dog"]
COLOURS = class_palette(CLASSES)


def scene() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A grey image of 40 × 60 with a cat on the left, a dog on the right and a void strip."""
    mask = np.zeros((40, 60), np.uint8)
    mask[10:30, 5:25] = 1
    mask[10:30, 35:55] = 2
    mask[:, 28:32] = 255
    return np.full((40, 60, 3), 100, np.uint8), mask


def colours_in(picture: Image.Image) -> set[tuple[int, ...]]:
    return {tuple(colour) for colour in np.asarray(picture).reshape(-1, 3).tolist()}


def test_overlay_mixes_colours_inside_and_shows_them_pure_on_outlines() -> None:
    image, mask = scene()
    picture = np.asarray(overlay(image, mask, CLASSES, legend=False))
    assert picture.shape == image.shape
    assert picture[2, 2].tolist() == [100, 100, 100]  # background is left clear
    assert picture[20, 15].tolist() == [165, 130, 50]  # half of (230, 159, 0) and half of 100
    assert picture[10, 15].tolist() == [230, 159, 0]  # the outline
    assert picture[20, 45].tolist() == [93, 140, 167]
    assert picture[20, 30].tolist() == [162, 162, 146]  # void is shown too


def test_outlines_run_along_all_sides_of_a_border() -> None:
    """A pixel is on an outline where one of its four neighbours has another label."""
    rng = np.random.default_rng(0)
    mask = np.kron(rng.choice([0, 1, 2, 255], (5, 7)), np.ones((4, 4), int)).astype(np.uint8)
    picture = np.asarray(
        overlay(np.zeros((20, 28, 3), np.uint8), mask, ["a", "b", "c"], 0.5, False)
    )
    around = np.pad(mask, 1, "edge")
    for (row, column), label in np.ndenumerate(mask):
        cross = [around[row, column + 1], around[row + 2, column + 1]]
        cross += [around[row + 1, column], around[row + 1, column + 2]]
        share = 1 if any(other != label for other in cross) else 128 / 255  # a half, in a byte
        expected = class_palette(["a", "b", "c"])[label] * share
        assert picture[row, column].tolist() == np.rint(expected).tolist()


def test_class_0_is_coloured_unless_it_is_background() -> None:
    image, mask = scene()
    picture = np.asarray(overlay(image, mask, ["sky", "cat", "dog"], legend=False))
    assert picture[2, 2].tolist() == [165, 130, 50]  # the first colour, not black
    picture = np.asarray(overlay(image, mask, ["_background_", "cat", "dog"], legend=False))
    assert picture[2, 2].tolist() == [100, 100, 100]


def test_legend_lists_what_occurs() -> None:
    image, mask = scene()
    picture = overlay(image, mask, CLASSES, opacity=0)
    assert picture.width == 5 * 60 and picture.height > 5 * 40
    below = colours_in(picture.crop((0, 5 * 40, picture.width, picture.height)))
    cat, dog, void = (tuple(COLOURS[label].tolist()) for label in (1, 2, 255))
    assert {cat, dog, void} <= below
    mask[mask == 2] = 0
    shorter = overlay(image, mask, CLASSES, opacity=0)
    assert dog not in colours_in(shorter)
    nothing = overlay(image, np.zeros_like(mask), CLASSES)
    assert nothing.size == (300, 200)


def test_legend_wraps_to_the_width() -> None:
    names = [f"class {index}" for index in range(20)]
    mask = np.arange(20, dtype=np.uint8).repeat(20).reshape(20, 20)
    narrow = overlay(np.zeros((20, 20, 3), np.uint8), mask, names)
    wide_mask = np.tile(mask, (1, 50))
    wide = overlay(np.zeros((20, 1000, 3), np.uint8), wide_mask, names)
    assert wide.width == 1000
    assert wide.height < narrow.height


def test_sheet_puts_image_truth_and_prediction_side_by_side() -> None:
    image, mask = scene()
    prediction = np.where(mask == 255, 2, mask)
    picture = sheet([(image, mask, prediction)] * 2, CLASSES)
    pixels = np.asarray(picture)
    # Three times as large, by which 60 pixels become 128 and more.
    assert picture.width == 3 * 180 + 4 * 8
    large, answer = (np.kron(x, np.ones((3, 3), np.uint8)) for x in (mask, prediction))
    top = 8 + 13 + 4 + 8
    second = top + 120 + 8
    for row in (top, second):
        assert (pixels[row : row + 120, 8:188] == 100).all()
        np.testing.assert_array_equal(pixels[row : row + 120, 196:376], COLOURS[large])
        np.testing.assert_array_equal(pixels[row : row + 120, 384:564], COLOURS[answer])
    assert (pixels[: top - 8] < 200).any()  # titles are written above


def test_sheet_of_different_sizes_and_scaled() -> None:
    image, mask = scene()
    rows = [(image, mask, mask), (image[:25, :33], mask[:25, :33], mask[:25, :33])]
    assert sheet(rows, CLASSES).width == 3 * 180 + 4 * 8
    picture = sheet([(image, mask, mask)], CLASSES, height=80)
    assert picture.width == 3 * 120 + 4 * 8
    # Scaling must not invent labels between two others.
    band = picture.crop((8 + 120 + 8, 33, 8 + 120 + 8 + 120, 113))
    assert colours_in(band) == {tuple(COLOURS[label].tolist()) for label in (0, 1, 2, 255)}


@pytest.mark.parametrize(("side", "least"), [(1, 256), (16, 256), (128, 256), (300, 300)])
def test_small_images_are_enlarged_and_their_masks_stay_sharp(side: int, least: int) -> None:
    mask = np.indices((side, side)).sum(0).astype(np.uint8) % 3
    image = np.zeros((side, side, 3), np.uint8)
    picture = overlay(image, mask, ["a", "b", "c"], opacity=1)
    assert picture.width == least
    part = picture.crop((0, 0, least, least))
    expected = class_palette(["a", "b", "c"])[mask].repeat(least // side, 0)
    np.testing.assert_array_equal(np.asarray(part), expected.repeat(least // side, 1))


def test_letters_and_legend_are_in_proportion() -> None:
    """The legend of an image three times as large looks the same, but for whole pixels."""
    heights = []
    for scale in (1, 3):
        mask = np.ones((600 * scale, 900 * scale), np.uint8)
        picture = overlay(np.zeros((*mask.shape, 3), np.uint8), mask, CLASSES)
        heights.append((picture.height - 600 * scale) / scale)
    assert heights[0] == 8 + 13 + 8
    assert abs(heights[1] / heights[0] - 1) < 0.2


@pytest.mark.parametrize(
    "name", ["x" * 300, "\U000f0000", "a\nb", "Straße", "трактор", "自転車", "دراجة", "😀", " "]
)
def test_a_legend_of_any_name(name: str) -> None:
    mask = np.ones((300, 300), np.uint8)
    picture = overlay(np.zeros((300, 300, 3), np.uint8), mask, ["background", name])
    assert picture.width <= 420
    text = np.asarray(picture.convert("L"))[308:321, 8 + 13 + 4 :]
    assert (text < 100).any() or not name.strip()


def test_letters_that_no_font_has_are_not_drawn_as_boxes() -> None:
    private = written(7, "\U000f0000", 13)
    assert private[0] == "class 7"
    assert written(7, "Straße " * 30, 13)[0].startswith(("Straße Straße ", "class 7"))
    assert written(7, "plain", 13)[0] == "plain"


def test_sheet_of_several_predictions() -> None:
    image, mask = scene()
    picture = sheet([(image, mask, mask, mask)], CLASSES, ("image", "truth", "32s", "8s"))
    assert picture.width == 4 * 180 + 5 * 8
    with pytest.raises(ValueError, match="4 parts for 3 titles"):
        sheet([(image, mask, mask, mask)], CLASSES)


def test_titles_fit_over_narrow_images() -> None:
    image, mask = scene()
    row = (image[:, :5], mask[:, :5], mask[:, :5])
    titles = ("one image", "another", "prediction")
    head = np.asarray(sheet([row], CLASSES, titles).convert("L"))[: 8 + 13 + 4]
    alone = [np.asarray(sheet([row[:1]], CLASSES, (title,)).convert("L")) for title in titles]
    assert (head < 128).sum() == sum((picture[: len(head)] < 128).sum() for picture in alone)
    assert (head[:, [0, -1]] > 200).all()


def test_errors() -> None:
    image, mask = scene()
    with pytest.raises(ValueError, match=r"overlay: image \(40, 60, 3\).*\(39, 60\)"):
        overlay(image, mask[1:], CLASSES)
    with pytest.raises(ValueError, match=r"opacity must be between 0 and 1, got 2"):
        overlay(image, mask, CLASSES, opacity=2)
    with pytest.raises(ValueError, match="differ in size"):
        sheet([(image, mask, mask[1:])], CLASSES)
    with pytest.raises(ValueError, match="at least one row"):
        sheet([], CLASSES)


def log(number: int, **values: float) -> list[dict[str, float]]:
    known = {"train_loss": 0.5, **dict.fromkeys(SCORES, 0.25), **values}
    return [{"epoch": epoch + 1, **known} for epoch in range(number)]


def drawn(picture: Image.Image, colour: tuple[int, ...] | list[int]) -> np.ndarray[Any, Any]:
    """Rows and columns of the pixels of this colour, above the legend."""
    pixels = np.asarray(picture)[: picture.height - 40]
    return np.argwhere((pixels == colour).all(axis=2))


@pytest.mark.parametrize("number", [1, 2, 500])
@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_curves_are_where_their_values_are(number: int, share: float) -> None:
    _, picture = plot_curves(log(number, mean_iu=share, fw_iu=math.nan))
    found = drawn(picture, COLOURS[5].tolist())  # of the third of every other colour
    assert found[:, 0].mean() == pytest.approx(296 - 280 * share, abs=1)
    left, right = found[:, 1].min(), found[:, 1].max()
    assert (left, right) == pytest.approx((64, 620) if number > 1 else (342, 342), abs=6)
    assert not len(drawn(picture, COLOURS[7].tolist()))


def test_the_top_of_the_loss_is_round() -> None:
    for loss, share in ((1.37, 1.37 / 2), (0.5, 1.0), (31.0, 31 / 40), (9e-9, 1.0), (0.0, 0.0)):
        picture, _ = plot_curves(log(3, train_loss=loss))
        rows = drawn(picture, (32, 32, 32))[:, 0]
        line = np.bincount(rows[rows < 300]).argmax()
        assert line == pytest.approx(296 - 280 * share, abs=2), loss


def test_curves_of_what_is_not_finite() -> None:
    rows = [*log(2, train_loss=math.inf), *log(1, train_loss=math.nan, mean_iu=math.nan)]
    assert len(plot_curves(rows)) == len(plot_curves(rows[:1])) == 2


@pytest.mark.parametrize("count", [1, 2, 21, 40, 41, 150, 255])
def test_a_confusion_matrix_shows_each_cell(count: int) -> None:
    counts = np.zeros((count, count), int)
    counts[np.arange(count), (np.arange(count) + 1) % count] = 7
    picture = plot_confusion(scores(counts), [f"class {i}" for i in range(count)])
    assert max(picture.size) < 1600
    pixels = np.asarray(picture)
    full = (pixels == (0, 68, 136)).all(axis=2)
    rows, columns = (np.flatnonzero(full.any(axis=axis)) for axis in (1, 0))
    side = 30 if count <= 40 else max(4, 1200 // count)
    # One dark square in each line, one to the right of the diagonal.
    starts = [rows[0] + i * side for i in range(count)]
    assert all(full[start].any() for start in starts)
    lefts = [int(np.flatnonzero(full[start])[0] - columns[0]) for start in starts]
    assert lefts == [side * ((i + 1) % count) for i in range(count)]


@pytest.mark.parametrize("name", ["狐", "\uffff", "a\nb", "x" * 300, "Grün"])
def test_a_confusion_matrix_of_any_names(name: str) -> None:
    picture = plot_confusion(scores([[1, 0], [0, 1]]), ["sea", name])
    assert picture.height < 120 and picture.width < 500
