"""Scores as tables: of each class, and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tinyfcn.metrics import Scores


def class_scores(scores: Scores, classes: Sequence[str]) -> dict[str, dict[str, float | None]]:
    """Of each class its IU, its accuracy (how many of its pixels were found), its precision (how
    many of the found are right) and its share of the true pixels; None where undefined.

    Example:
        >>> from tinyfcn.metrics import scores
        >>> class_scores(scores([[3, 1], [0, 4]]), ["sea", "sky"])["sea"]
        {'iu': 0.75, 'accuracy': 0.75, 'precision': 1.0, 'share': 0.5}
    """
    right, true = scores.counts.diagonal(), scores.counts.sum(axis=1)
    with np.errstate(invalid="ignore"):  # 0/0 is NaN
        columns = {
            "iu": scores.iu,
            "accuracy": right / true,
            "precision": right / scores.counts.sum(axis=0),
            "share": true / true.sum(),
        }
    return {
        name: {key: None if np.isnan(of[i]) else float(of[i]) for key, of in columns.items()}
        for i, name in enumerate(classes)
    }


def csv_table(rows: Iterable[Iterable[Any]]) -> bytes:
    """The rows as CSV, in which NaN is an empty cell.

    Example:
        >>> csv_table([["id", "iu sea", "iu sky"], ["a, b", 0.25, np.nan]]).decode()
        'id,iu sea,iu sky\\r\\n"a, b",0.25,\\r\\n'
    """
    text = io.StringIO(newline="")
    csv.writer(text).writerows([["" if cell != cell else cell for cell in row] for row in rows])
    return text.getvalue().encode("utf-8", "backslashreplace")
