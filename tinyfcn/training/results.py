"""What ``tinyfcn evaluate`` writes."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinyfcn.files import AnyPath, Outputs, atomic_write
from tinyfcn.metrics import SCORES
from tinyfcn.page import page
from tinyfcn.training import run_page
from tinyfcn.training.evaluation import Evaluation
from tinyfcn.training.tables import class_scores, csv_table
from tinyfcn.visualize import made_by, plot_confusion

MARK = "tinyfcn evaluate"
IMAGES, CONFUSION = ("id", "pixel_accuracy", "mean_iu"), "truth / prediction"  # tables begin so


def write_results(
    folder: AnyPath, found: Evaluation, classes: Sequence[str], about: Mapping[str, Any]
) -> list[str]:
    """Write ``scores.json``, in which null is undefined, ``images.csv``, where a cell is empty,
    ``confusion.csv`` in pixels, ``confusion.png`` and ``report.html``. Where such a file is there
    that no evaluation wrote, another name is taken.

    Args:
        folder: where to; it must be there.
        found: what was found out.
        classes: the name of each class.
        about: what was evaluated, to be told; "checkpoint" is its file.

    Returns:
        The names of the files, with a note where the first choice was taken.
    """
    told = {"software": MARK, **about}
    scores = {name: getattr(found.scores, name) for name in SCORES}
    known = {**told, **scores, "classes": class_scores(found.scores, classes)}
    images = [[name, *figures] for name, figures in found.images.items()]
    matrix = found.scores.counts.astype(np.int64).tolist()
    pixels = ([name, *row] for name, row in zip(classes, matrix, strict=True))
    plot_confusion(found.scores, classes).save(png := io.BytesIO(), "PNG", pnginfo=made_by(MARK))
    report = page(
        f"{about['checkpoint']} on {len(found.images)} images",
        run_page.evaluation(found, classes), run_page.settings(told),
    )  # fmt: skip
    files = {
        "scores.json": f"{json.dumps(known, indent=2)}\n".encode(),
        "images.csv": csv_table([[*IMAGES, *(f"iu {name}" for name in classes)], *images]),
        "confusion.csv": csv_table([[CONFUSION, *classes], *pixels]),
        "confusion.png": png.getvalue(),
        "report.html": report.encode("utf-8", "backslashreplace"),
    }
    outputs = Outputs([about["checkpoint"]], MARK, ",".join(IMAGES), f"{CONFUSION},")
    said = []
    for name, data in files.items():
        (path,), note = outputs.free(folder, Path(name).stem, Path(name).suffix)
        with atomic_write(path) as file:
            file.write(data)
        said.append(f"{path.name}{note}")
    return said
