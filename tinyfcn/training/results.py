"""What is known of a network's scores: as tables, as a page, and as files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tinyfcn import visualize
from tinyfcn.data.class_colours import class_palette
from tinyfcn.data.palette import VOID
from tinyfcn.files import AnyPath, Outputs
from tinyfcn.metrics import SCORES, Scores
from tinyfcn.page import Element, element, gallery, joined, page, picture, table
from tinyfcn.training.evaluation import Evaluation

MARK = "tinyfcn evaluate"
IMAGES, CONFUSION = ("id", "pixel_accuracy", "mean_iu"), "truth / prediction"  # tables begin so
MOST = 1_200_000  # letters that the worst images may take on a page
_RED = (213, 0, 50)


# ---- tables ----


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


# ---- parts of a page ----


def curves(rows: Sequence[Mapping[str, float]]) -> Element:
    """Loss and scores over the epochs."""
    names = ("training loss", "scores on the images that are not trained on")
    plots = map(picture, visualize.plot_curves(rows), names)
    return joined(element("h2", "Curves"), element("div", *plots, class_="row plots"))


def evaluation(found: Evaluation, classes: Sequence[str]) -> Element:
    """Scores of each class, confusions and the worst images."""
    scores, palette = found.scores, class_palette(classes)
    every = [[label, f"{getattr(scores, name):.3f}"] for name, label in SCORES.items()]
    by_class = []
    for colour, (name, of) in zip(palette, class_scores(scores, classes).items(), strict=False):
        style = f"background:#{colour.tobytes().hex()}"
        named = joined(element("span", class_="colour", style=style), name)
        by_class.append([named, *("" if x is None else f"{100 * x:.1f}" for x in of.values())])
    confusions = picture(visualize.plot_confusion(scores, classes), "confusion matrix")
    worst: list[Element] = []
    for name, triple in found.worst.items():
        accuracy, mean_iu, *_ = found.images[name]
        said = f"{name}: mean IU {mean_iu:.3f}, pixel accuracy {accuracy:.3f}"
        worst.append(gallery(said, name, pictures(triple, classes)))
        if sum(map(len, worst)) > MOST:
            worst.pop()
            break
    return joined(
        element("h2", "Scores"), table([], every),
        element("h2", "Classes"),
        table(["in %", "IU", "accuracy", "precision", "share"], by_class),
        element("h2", "What is taken for what"), element("div", confusions, class_="wide"),
        element("h2", "The images of the lowest mean IU"), *worst,
    )  # fmt: skip


def pictures(triple: visualize.Triple, classes: Sequence[str]) -> dict[str, Image.Image]:
    """An image, its truth, what was predicted, and where that is wrong."""
    image, truth, prediction = triple
    void = (truth == VOID)[..., None]
    pale = 255 - (255 - image.mean(axis=2, keepdims=True)) * np.where(void, 0.15, 0.5)
    wrong = ((truth != prediction) & (truth != VOID))[..., None]
    errors = np.where(wrong, np.array(_RED), pale).astype(np.uint8)
    return {
        "image": Image.fromarray(image),
        "truth": visualize.in_colours(truth, classes),
        "prediction": visualize.in_colours(prediction, classes),
        "errors red, void pale": Image.fromarray(errors),
    }


def settings(values: Mapping[str, Any]) -> Element:
    """The arguments, and whatever else tells how this came about."""
    rows = [
        [name.replace("_", "-"), ", ".join(map(str, x)) if isinstance(x, list | tuple) else x]
        for name, x in values.items() if x is not None
    ]  # fmt: skip
    return joined(element("h2", "Settings"), table([], rows))


# ---- files ----


def write_results(
    folder: AnyPath, found: Evaluation, classes: Sequence[str], about: Mapping[str, Any]
) -> list[str]:
    """Write ``scores.json``, in which null is undefined, ``images.csv``, where a cell is empty,
    ``confusion.csv`` in pixels, ``confusion.png`` and ``report.html``. Where such a file is there
    that no evaluation wrote, another name is taken.

    Args:
        folder: where to.
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
    report = page(
        f"{about['checkpoint']} on {len(found.images)} images",
        evaluation(found, classes), settings(told),
    )  # fmt: skip
    files = {
        "scores.json": f"{json.dumps(known, indent=2)}\n".encode(),
        "images.csv": csv_table([[*IMAGES, *(f"iu {name}" for name in classes)], *images]),
        "confusion.csv": csv_table([[CONFUSION, *classes], *pixels]),
        "confusion.png": visualize.png(visualize.plot_confusion(found.scores, classes), MARK),
        "report.html": report.encode("utf-8", "backslashreplace"),
    }
    outputs = Outputs([about["checkpoint"]], MARK, ",".join(IMAGES), f"{CONFUSION},")
    written = (outputs.write(Path(folder, name), data) for name, data in files.items())
    return [f"{path.name}{note}" for path, note in written]
