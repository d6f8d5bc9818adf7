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
    known = entry(name)
    with backend.using("meta"):
        model = models.create(name, num_classes=known.classes, **arguments)
    s = summary(model, (3, known.side, known.side))
    call = " ".join([name, *(f"{key}={value}" for key, value in arguments.items())])
    return (
        f"| `{call}` | {known.side} x {known.side} | {s.parameters:,} | {amount(s.multiply_adds)} "
        f"| {pixels(s.receptive_field)} | {pixels(s.stride)} | {known.source} |"
    )
