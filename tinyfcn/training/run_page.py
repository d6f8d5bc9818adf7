"""What report.html shows: curves, scores of each class, confusions, the worst images, settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from tinyfcn import visualize
from tinyfcn.data.class_colours import class_palette
from tinyfcn.data.palette import VOID
from tinyfcn.metrics import SCORES
from tinyfcn.page import Element, element, gallery, joined, picture, table
from tinyfcn.training.evaluation import Evaluation
from tinyfcn.training.tables import class_scores
from tinyfcn.visualize import Triple, in_colours

MOST = 1_200_000  # letters that the worst images may take
_RED = (213, 0, 50)


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


def pictures(triple: Triple, classes: Sequence[str]) -> dict[str, Image.Image]:
    """An image, its truth, what was predicted, and where that is wrong."""
    image, truth, prediction = triple
    void = (truth == VOID)[..., None]
    pale = 255 - (255 - image.mean(axis=2, keepdims=True)) * np.where(void, 0.15, 0.5)
    wrong = ((truth != prediction) & (truth != VOID))[..., None]
    errors = np.where(wrong, np.array(_RED), pale).astype(np.uint8)
    return {
        "image": Image.fromarray(image),
        "truth": in_colours(truth, classes),
        "prediction": in_colours(prediction, classes),
        "errors red, void pale": Image.fromarray(errors),
    }


def settings(values: Mapping[str, Any]) -> Element:
    """The arguments, and whatever else tells how this came about."""
    rows = [
        [name.replace("_", "-"), ", ".join(map(str, x)) if isinstance(x, list | tuple) else x]
        for name, x in values.items() if x is not None
    ]  # fmt: skip
    return joined(element("h2", "Settings"), table([], rows))
