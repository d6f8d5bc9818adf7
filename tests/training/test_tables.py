"""Tables of scores: each number against one counted by hand, and files that programs read."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import pytest

from tinyfcn.metrics import scores
from tinyfcn.training.evaluation import Evaluation
from tinyfcn.training.results import write_results
from tinyfcn.training.tables import class_scores

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
