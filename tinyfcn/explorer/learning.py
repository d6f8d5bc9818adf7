"""The learning room: a loss with void pixels, a gradient checked by hand, batch norm before ReLU.

Each part gives grids whose cells bear the numbers of what they are of (a pixel, an element, a
channel), so that a page can light up what belongs together without knowing what it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from tinyfcn.explorer import learning_check, learning_loss, learning_norm
from tinyfcn.explorer.settings import Setting, State, changes, control, read

PARTS = {"loss": learning_loss, "check": learning_check, "norm": learning_norm}
SETTINGS = {"part": Setting("loss", (*PARTS,))} | {
    name: setting for part in PARTS.values() for name, setting in part.SETTINGS.items()
}


def answer(given: Any) -> dict[str, Any]:
    """All that the page draws for an address.

    Raises:
        ValueError: in a sentence, if the address makes no sense.
    """
    state = read("learning", SETTINGS, given)
    found = PARTS[state["part"]].answer(state)
    for each in found["groups"]:
        for grid in each["grids"]:
            grid["key"] = f"{state['part']}-{grid['key']}"
    return {"controls": controls(state), **found}


def controls(state: State) -> list[dict[str, Any]]:
    """The parts, and the choices of this one."""
    labels = {"part": "part", **PARTS[state["part"]].CHOICES}
    return [control(SETTINGS, state, name, [label]) for name, label in labels.items()]


def states() -> Iterator[dict[str, str | None]]:
    """What the static form records: in each part all choices, and a change of each pixel."""
    start = read("learning", SETTINGS, {})
    for name, part in PARTS.items():
        choices = [SETTINGS[choice].values or () for choice in part.CHOICES]
        for values in product(*choices):
            then = start | {"part": name} | dict(zip(part.CHOICES, values, strict=True))
            for change in part.recorded(then):
                yield changes(SETTINGS, start, then) | change
