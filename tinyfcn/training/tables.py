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
_INK, _LINE, _FULL = (32, 32, 32), (230, 230, 230), np.array([0, 68, 136])


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
    size = len(classes) * side
    picture = Image.new("RGB", (max(left + size + _GAP, 400), top + size + _GAP), "white")
    shares = scores.counts / np.maximum(1, scores.counts.sum(axis=1, keepdims=True))
    depths = shares[..., None] ** 0.5  # which shows what is rare
    cells = Image.fromarray(np.rint(255 + depths * (_FULL - 255)).astype(np.uint8))
    picture.paste(cells.resize((size, size), Image.Resampling.NEAREST), (left, top))
    draw = ImageDraw.Draw(picture)
    note = "line: true class; column: predicted class; in % of the line"
    draw.text((_GAP, _GAP), note, _INK, ImageFont.load_default(_TEXT))
    middles = (np.arange(len(classes)) + 0.5) * side
    for i, (name, own) in enumerate(names):
        draw.text((left - _GAP, top + middles[i]), f"{name} {i}", _INK, own, "rm")
        draw.text((left + middles[i], top - _GAP), str(i), _INK, font, "mb")
    for i, j in np.argwhere(shares >= 0.005) if side >= 2 * _TEXT else ():
        ink = "white" if shares[i, j] > 0.25 else _INK
        place = (left + middles[j], top + middles[i])
        draw.text(place, f"{100 * shares[i, j]:.0f}", ink, font, "mm")
    for end in range(side - 1, size, side):
        draw.line((left, top + end, left + size, top + end), _LINE)
        draw.line((left + end, top, left + end, top + size), _LINE)
    return picture
