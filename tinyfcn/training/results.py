"""What ``tinyfcn evaluate`` writes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from tinyfcn.files import AnyPath, Outputs, atomic_write
from tinyfcn.page import page
from tinyfcn.training import run_page, tables
from tinyfcn.training.evaluation import Evaluation
from tinyfcn.visualize import made_by

MARK = "tinyfcn evaluate"


def write_results(
    folder: AnyPath, found: Evaluation, classes: Sequence[str], about: Mapping[str, Any]
) -> list[str]:
    """Write ``scores.json``, ``images.csv``, ``confusion.csv``, ``confusion.png`` and
    ``report.html``. Where such a file is there that no evaluation wrote, another name is taken.

    Args:
        folder: where to; it must be there.
        found: what was found out.
        classes: the name of each class.
        about: what was evaluated, to be told; "checkpoint" is its file.

    Returns:
        The names of the files, with a note where the first choice was taken.
    """
    png = io.BytesIO()
    tables.confusion_picture(found.scores, classes).save(png, "PNG", pnginfo=made_by(MARK))
    title = f"{about['checkpoint']} on {len(found.images)} images"
    report = page(
        title, run_page.evaluation(found, classes),
        run_page.settings({**about, "software": MARK}),
    )  # fmt: skip
    files = {
        "scores": {".json": tables.as_json(found.scores, classes, software=MARK, **about)},
        "images": {".csv": tables.images_csv(found.images, classes)},
        "confusion": {".csv": tables.confusion_csv(found.scores, classes), ".png": png.getvalue()},
        "report": {".html": report.encode("utf-8", "backslashreplace")},
    }
    outputs = Outputs([about["checkpoint"]], MARK, tables.IMAGES, tables.CONFUSION)
    said = []
    for stem, contents in files.items():
        paths, note = outputs.free(folder, stem, *contents)
        for path, data in zip(paths, contents.values(), strict=True):
            with atomic_write(path) as file:
                file.write(data)
        said.append(" and ".join(path.name for path in paths) + note)
    return said
