"""Scores as tables and as a page: each number against one counted by hand, small, and right."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest

from tinyfcn.metrics import SCORES, scores
from tinyfcn.page import page
from tinyfcn.training.evaluation import Evaluation
from tinyfcn.training.results import (
    class_scores,
    curves,
    evaluation,
    pictures,
    settings,
    write_results,
)
from tinyfcn.visualize import Triple

NAMES = ['sea, "deep"', "sky", "=1+1", "狐"]
COUNTS = [[6, 2, 0, 0], [1, 9, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0]]


def test_scores_of_each_class() -> None:
    found = class_scores(scores(COUNTS), NAMES)
    expected = [
        (6 / 9, 6 / 8, 6 / 7, 0.4), (9 / 14, 0.9, 9 / 13, 0.5), (0, 0, None, 0.1),
        (None, None, None, 0),
    ]  # fmt: skip
    assert [*found] == NAMES
    for values, wanted in zip(found.values(), expected, strict=True):
        assert [*values] == ["iu", "accuracy", "precision", "share"]
        assert tuple(values.values()) == pytest.approx(wanted)


def rows_of(path: Path) -> list[list[str]]:
    return [*csv.reader(io.StringIO(path.read_bytes().decode(), newline=""))]


def test_files_come_back(tmp_path: Path) -> None:
    images = {"a,b": [0.5, 1 / 3, 1 / 3, math.nan, 0.0, 1.0], "c\udcff": [math.nan] * 6}
    write_results(tmp_path, Evaluation(scores(COUNTS), images, [], {}), NAMES, {"checkpoint": "x"})

    def never(word: str) -> None:
        raise AssertionError(word)

    read = json.loads((tmp_path / "scores.json").read_bytes(), parse_constant=never)
    assert (read["checkpoint"], read["pixel_accuracy"]) == ("x", 0.75)
    assert read["mean_iu"] == pytest.approx((6 / 9 + 9 / 14 + 0) / 3)
    assert read["classes"]["狐"] == {"share": 0, "accuracy": None, "precision": None, "iu": None}

    rows = rows_of(tmp_path / "confusion.csv")
    assert rows[0] == ["truth / prediction", *NAMES]
    assert [row[0] for row in rows[1:]] == NAMES
    assert [[int(cell) for cell in row[1:]] for row in rows[1:]] == COUNTS

    rows = rows_of(tmp_path / "images.csv")
    assert rows[0] == ["id", "pixel_accuracy", "mean_iu", *(f"iu {name}" for name in NAMES)]
    assert rows[1] == ["a,b", "0.5", str(1 / 3), str(1 / 3), "", "0.0", "1.0"]
    assert rows[2] == ["c\\udcff", *[""] * 6]


# ---- the page ----

CLASSES = ["background", "cat <b>", "狐 & dog"]


def triple(height: int, width: int, classes: int = 3) -> Triple:
    """The worst that a page can be asked to hold: noise."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    truth, said = (rng.integers(0, classes, (height, width)).astype(np.uint8) for _ in range(2))
    truth[:, : width // 4] = 255
    return image, truth, said


def found(number: int = 8, size: tuple[int, int] = (320, 320), classes: int = 3) -> Evaluation:
    counts = np.random.default_rng(0).integers(0, 9, (classes, classes)) * 1000
    names = [f"folder/picture <{i}> {'x' * 40}" for i in range(number)]
    figures = [0.25, 0.125, *[math.nan] * classes]
    worst = {name: triple(*size, classes) for name in names}
    return Evaluation(scores(counts), dict.fromkeys(names, figures), [], worst)


def rows(number: int) -> list[dict[str, float]]:
    return [
        {"epoch": i + 1, "train_loss": 3 / (i + 1), **dict.fromkeys(SCORES, i / number)}
        for i in range(number)
    ]


def whole(number: int = 8, size: tuple[int, int] = (320, 320), classes: int = 3) -> str:
    names = CLASSES if classes == 3 else [f"class {i}" for i in range(classes)]
    shown = evaluation(found(number, size, classes), names)
    values = {"lr": 0.01, "data_root": "/a/very/" + "long/" * 60, "command": ["a", "b"], "x": None}
    return page("run <1>", curves(rows(20)), shown, settings(values))


@pytest.mark.parametrize("classes", [3, 255])
def test_it_stays_under_two_megabytes(classes: int) -> None:
    text = whole(classes=classes)
    assert 500_000 < len(text.encode()) < 2_000_000
    assert text.index("picture &lt;0&gt;") < text.index("picture &lt;1&gt;")


def test_it_tells_all() -> None:
    text = whole(2, (8, 12))
    for part in ("cat &lt;b&gt;", "狐 &amp; dog", "mean IU 0.125, pixel accuracy 0.250", "a, b"):
        assert part in text
    assert text.count("<img") == 2 + 1 + 2 * 4
    assert "<td>x</td>" not in text  # what was not given


def test_errors_are_red_where_they_are() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    truth, said = np.array([[0, 1], [255, 1]], np.uint8), np.array([[0, 0], [1, 1]], np.uint8)
    shown = [*pictures((image, truth, said), CLASSES).values()][3]
    assert np.asarray(shown).tolist() == [[[127] * 3, [213, 0, 50]], [[216] * 3, [127] * 3]]
