"""The networks side by side, in figures that are computed from the networks themselves."""

from __future__ import annotations

from tinyfcn import backend, models
from tinyfcn.summary import amount, pixels, summary

# Who described it.
SOURCES = {
    "fcn32s": "Long et al. 2015",
    "fcn16s": "Long et al. 2015",
    "fcn8s": "Long et al. 2015",
    "vgg16": "Simonyan, Zisserman 2015",
    "vgg16_bn": "Simonyan, Zisserman 2015",
}
CLASSIFIERS = ("vgg16", "vgg16_bn")


def table() -> str:
    """All networks of ``tinyfcn.models``, as a table in Markdown.

    Those that label pixels are asked about an image of 500 × 500 with 21 classes, classifiers about
    224 × 224 with 1000. The columns are explained in :class:`tinyfcn.summary.Summary`.
    """
    lines = [
        "| network | image | parameters | multiply-adds | receptive field | stride | source |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in models.names():
        side, classes = (224, 1000) if name in CLASSIFIERS else (500, 21)
        with backend.using("meta"):
            model = models.create(name, num_classes=classes)
        s = summary(model, (3, side, side))
        lines.append(
            f"| `{name}` | {side} x {side} | {s.parameters:,} | {amount(s.multiply_adds)} "
            f"| {pixels(s.receptive_field)} | {pixels(s.stride)} | {SOURCES[name]} |"
        )
    return "\n".join(lines)
