"""Scores as tables: JSON, CSV, and a picture of what is taken for what."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tinyfcn.metrics import SCORES, Scores
from tinyfcn.visualize import written

IMAGES, CONFUSION = "id,pixel_accuracy,mean_iu,iu ", "truth / prediction,"  # how tables begin
_GAP, _TEXT = 8, 13
_INK, _FULL = (32, 32, 32), np.array([0, 68, 136])


def class_scores(scores: Scores, classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """Of each class its IU, its accuracy (how many of its pixels were found), its precision (how
    many of the found are right) and its share of the true pixels; NaN where undefined.

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
        name: {column: float(values[i]) for column, values in columns.items()}
        for i, name in enumerate(classes)
    }


def as_json(scores: Scores, classes: Sequence[str], **more: Any) -> bytes:
    """The scores, of all and of each class, and what is known besides; null where undefined."""
    every = {name: getattr(scores, name) for name in SCORES}
    known = {**more, **every, "classes": class_scores(scores, classes)}
    return (json.dumps(_plain(known), indent=2) + "\n").encode()


def images_csv(images: Mapping[str, Sequence[float]], classes: Sequence[str]) -> bytes:
    """A line for each image: pixel accuracy, mean IU, IU of each class; empty where undefined.

    Example:
        >>> print(images_csv({"a": [0.5, 0.25, 0.25, math.nan]}, ["sea", "sky"]).decode())
        id,pixel_accuracy,mean_iu,iu sea,iu sky
        a,0.5,0.25,0.25,
        <BLANKLINE>
    """
    head = ["id", "pixel_accuracy", "mean_iu", *(f"iu {name}" for name in classes)]
    rows = ([name, *("" if x != x else x for x in figures)] for name, figures in images.items())
    return _csv([head, *rows])


def confusion_csv(scores: Scores, classes: Sequence[str]) -> bytes:
    """The confusion matrix: pixels, a line for each true class, a column for each predicted one."""
    rows = scores.counts.astype(np.int64).tolist()
    lines = ([name, *row] for name, row in zip(classes, rows, strict=True))
    return _csv([[CONFUSION.rstrip(","), *classes], *lines])


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


def _csv(rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode("utf-8", "backslashreplace")


def _plain(value: Any) -> Any:
    """For JSON, which has no NaN."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
