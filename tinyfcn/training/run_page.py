"""What report.html shows: curves, scores of each class, confusions, the worst images, settings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tinyfcn.data.class_colours import class_palette
from tinyfcn.data.palette import VOID
from tinyfcn.metrics import SCORES
from tinyfcn.page import Element, element, joined, picture, table
from tinyfcn.training.evaluation import Evaluation
from tinyfcn.training.tables import class_scores, confusion_picture
from tinyfcn.visualize import Triple

MOST = 1_200_000  # letters that the worst images may take
_RED = (213, 0, 50)
_COLOURS = ("#2a78d6", "#d6662a", "#3a9a5c", "#9a5cc0")  # seen on white and on black


def curves(rows: Sequence[Mapping[str, float]]) -> Element:
    """Loss and scores over the epochs; nothing where there are none."""
    if not rows:
        return Element()
    epochs = [row["epoch"] for row in rows]
    losses = {"training loss": [row["train_loss"] for row in rows]}
    scores = {label: [row[name] for row in rows] for name, label in SCORES.items()}
    top = max([x for x in losses["training loss"] if math.isfinite(x)], default=1.0)
    plots = _plot(epochs, losses, top or 1.0), _plot(epochs, scores, 1.0)
    return joined(element("h2", "Curves"), element("div", *plots, class_="row plots"))


def _plot(epochs: Sequence[float], lines: Mapping[str, Sequence[float]], top: float) -> Element:
    """Lines from 0 to ``top``, named below it, where the names cover nothing."""
    span = max(1, epochs[-1] - epochs[0])
    parts, names = [], []
    for share in (0.0, 0.5, 1.0):
        y = 160 - 150 * share
        parts.append(element("path", d=f"M40 {y}H310", stroke="#8886"))
        parts.append(_text(36, y + 4, f"{share * top:.3g}", "end"))
    for epoch, x in {epochs[-1]: 310, epochs[0]: 40}.items():
        parts.append(_text(x, 176, f"{epoch:g}", "middle"))
    parts.append(_text(175, 176, "epoch", "middle"))
    for (name, values), colour in zip(lines.items(), _COLOURS, strict=False):
        points = [
            f"{40 + 270 * (epoch - epochs[0]) / span:.1f},{160 - 150 * value / top:.1f}"
            for epoch, value in zip(epochs, values, strict=True) if math.isfinite(value)
        ]  # fmt: skip
        # The first point twice: a line of one point is a dot.
        style = {"fill": "none", "stroke": colour, "stroke_width": 3, "stroke_linecap": "round"}
        parts.append(element("polyline", points=" ".join(points[:1] + points), **style))
        names.append(element("span", _swatch(colour), f" {name}", class_="name"))
    drawing = element("svg", *parts, viewBox="0 0 320 182", role="img")
    return element("figure", drawing, element("figcaption", *names))


def _text(x: float, y: float, text: str, anchor: str) -> Element:
    style = {"font_size": 11, "fill": "currentColor", "text_anchor": anchor}
    return element("text", text, x=x, y=y, **style)


def evaluation(found: Evaluation, classes: Sequence[str]) -> Element:
    """Scores of each class, confusions and the worst images."""
    scores, palette = found.scores, class_palette(classes)
    every = [[label, f"{getattr(scores, name):.3f}"] for name, label in SCORES.items()]
    marks = [_swatch(f"#{colour.tobytes().hex()}") for colour in palette]
    by_class = [
        [joined(mark, f" {name}"), *map(_percent, figures.values())]
        for mark, (name, figures) in zip(marks, class_scores(scores, classes).items(), strict=False)
    ]
    head = ["in %", "IU", "accuracy", "precision", "share"]
    confusions = picture(confusion_picture(scores, classes), "confusion matrix")
    parts: list[Element] = []
    for name, triple in found.worst.items():
        parts.append(_shown(name, found.images[name], triple, palette))
        if sum(map(len, parts)) > MOST:
            parts.pop()
            break
    return joined(
        element("h2", "Scores"), table([], every),
        element("h2", "Classes"), table(head, by_class),
        element("h2", "What is taken for what"), element("div", confusions, class_="wide"),
        element("h2", "The images of the lowest mean IU"), *parts,
    )  # fmt: skip


def _shown(
    name: str, figures: Sequence[float], triple: Triple, palette: NDArray[np.uint8]
) -> Element:
    """An image, its truth, what was predicted, and where that is wrong."""
    image, truth, prediction = triple
    void = (truth == VOID)[..., None]
    pale = 255 - (255 - image.mean(axis=2, keepdims=True)) * np.where(void, 0.15, 0.5)
    wrong = ((truth != prediction) & (truth != VOID))[..., None]
    errors = np.where(wrong, np.array(_RED), pale).astype(np.uint8)
    parts = {
        "image": picture(Image.fromarray(image), f"image {name}", lossy=True),
        "truth": picture(_in_colours(truth, palette), f"truth of {name}"),
        "prediction": picture(_in_colours(prediction, palette), f"prediction of {name}"),
        "errors red, void pale": picture(Image.fromarray(errors), f"errors of {name}", lossy=True),
    }  # fmt: skip
    said = f"{name}: mean IU {figures[1]:.3f}, pixel accuracy {figures[0]:.3f}"
    shown = (element("figure", part, element("figcaption", text)) for text, part in parts.items())
    return joined(element("h3", said), element("div", *shown, class_="row"))


def settings(values: Mapping[str, Any]) -> Element:
    """The arguments, and whatever else tells how this came about."""
    rows = [
        [name.replace("_", "-"), ", ".join(map(str, x)) if isinstance(x, list | tuple) else x]
        for name, x in values.items() if x is not None
    ]  # fmt: skip
    return joined(element("h2", "Settings"), table([], rows))


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def _in_colours(mask: NDArray[np.uint8], palette: NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(mask)
    image.putpalette(palette.tobytes())
    return image


def _swatch(colour: str) -> Element:
    return element("span", class_="colour", style=f"background:{colour}")
