"""The networks side by side, in figures that are computed from the networks themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tinyfcn import backend, models
from tinyfcn.models.registry import entry
from tinyfcn.summary import Summary, amount, pixels, summary


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


def summary_of(
    name: str, arguments: Mapping[str, Any], input_size: Sequence[int] | None = None
) -> Summary:
    """A network in figures: with arguments, else with the table's number of classes, and for an
    image of a size (C, H, W), else for that of the table. Takes no memory."""
    known = entry(name)
    with backend.using("meta"):
        model = models.create(name, **{"num_classes": known.classes, **arguments})
    return summary(model, input_size or (arguments.get("in_channels", 3), known.side, known.side))


def _row(name: str, arguments: Mapping[str, Any]) -> str:
    known, s = entry(name), summary_of(name, arguments)
    call = " ".join([name, *(f"{key}={value}" for key, value in arguments.items())])
    return (
        f"| `{call}` | {known.side} x {known.side} | {s.parameters:,} | {amount(s.multiply_adds)} "
        f"| {pixels(s.receptive_field)} | {pixels(s.stride)} | {known.source} |"
    )
