"""The networks side by side, in figures that are computed from the networks themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinyfcn import backend, models
from tinyfcn.models.registry import entry
from tinyfcn.summary import amount, pixels, summary


def table() -> str:
    """All networks of ``tinyfcn.models``, as a table in Markdown; some in several forms.

    Those that label pixels are asked about an image of 500 x 500 with 21 classes, classifiers about
    224 x 224 with 1000. The columns are explained in :class:`tinyfcn.summary.Summary`.
    """
    lines = [
        "| network | image | parameters | multiply-adds | receptive field | stride | source |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in models.names():
        lines += [_row(name, form) for form in entry(name).forms]
    return "\n".join(lines)


def _row(name: str, arguments: Mapping[str, Any]) -> str:
    side, classes = usual(name)
    with backend.using("meta"):
        model = models.create(name, num_classes=classes, **arguments)
    s = summary(model, (3, side, side))
    call = " ".join([name, *(f"{key}={value}" for key, value in arguments.items())])
    return (
        f"| `{call}` | {side} x {side} | {s.parameters:,} | {amount(s.multiply_adds)} "
        f"| {pixels(s.receptive_field)} | {pixels(s.stride)} | {entry(name).source} |"
    )


def usual(name: str) -> tuple[int, int]:
    """The side of the image and the number of classes that a network is asked about.

    Example:
        >>> usual("fcn8s"), usual("caffenet")
        ((500, 21), (227, 1000))
    """
    return entry(name).side, 1000 if models.is_classifier(name) else 21
