"""Scores as tables: of each class, as CSV, and as a picture of what is taken for what."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tinyfcn.metrics import Scores
from tinyfcn.visualize import written

_GAP, _TEXT = 8, 13
_INK, _FULL = (32, 32, 32), np.array([0, 68, 136])


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


def confusion_picture(scores: Scores, classes: Sequence[str]) -> Image.Image:
    """The confusion matrix as a picture: of the pixels of the class of a line, how many in a
    hundred were taken for that of the column.

    Example:
        >>> from tinyfcn.metrics import scores
        >>> confusion_picture(scores([[3, 1], [0, 4]]), ["sea", "sky"]).getpixel((90, 82))
        (0, 68, 136)
    """
    side = 30 if len(classes) <= 40 else max(4, 1200 // len(classes))
    font = ImageFont.load_default(min(_TEXT, side))
    names = [written(i, name, min(_TEXT, side)) for i, name in enumerate(classes)]
    left = max(round(own.getlength(f"{name} {i}")) for i, (name, own) in enumerate(names))
    left, top = left + 2 * _GAP, 4 * _GAP + _TEXT
    size = len(classes) * side + _GAP
    picture = Image.new("RGB", (max(left + size, 400), top + size), "white")
    draw = ImageDraw.Draw(picture)
    note = "line: true class; column: predicted class; in % of the line"
    draw.text((_GAP, _GAP), note, _INK, ImageFont.load_default(_TEXT))
    for i, (name, own) in enumerate(names):
        middle = (i + 0.5) * side
        draw.text((left - _GAP, top + middle), f"{name} {i}", _INK, own, "rm")
        draw.text((left + middle, top - _GAP), str(i), _INK, font, "mb")
    shares = scores.counts / np.maximum(1, scores.counts.sum(axis=1, keepdims=True))
    for (i, j), share in np.ndenumerate(shares):
        x, y = left + j * side, top + i * side
        depth = share**0.5  # which shows what is rare
        colour = tuple(np.rint(255 + depth * (_FULL - 255)).astype(int).tolist())
        draw.rectangle((x, y, x + side - 2, y + side - 2), colour)
        if share >= 0.005 and side >= 2 * _TEXT:
            ink = "white" if depth > 0.5 else _INK
            centre = (x + side / 2 - 1, y + side / 2 - 1)
            draw.text(centre, f"{100 * share:.0f}", ink, font, "mm")
    return picture
