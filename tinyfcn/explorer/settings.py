"""What the address of a room may say: settings by name, each with its default and its values.

An address holds what differs from the defaults, as text, so that a link shows exactly this. What
comes in is read with care, and a mistake ends in a sentence.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

State = dict[str, Any]
Edits = dict[tuple[int, ...], float]

_EDIT = re.compile(r"(\d{1,3}(?:\.\d{1,3})*):(-?\d{1,12}(?:\.\d{1,12})?(?:e[+-]?\d{1,2})?)")
MOST = 1e6  # of a number that is typed
MOST_EDITS = 1000


class Setting(NamedTuple):
    """A setting of a room; where ``values`` is None, numbers that were changed by hand."""

    default: Any
    values: Sequence[Any] | None = None


EDITS = Setting("")


def read(room: str, settings: Mapping[str, Setting], given: Any) -> State:
    """All settings of a room, from those that an address names.

    Args:
        given: texts by name.

    Raises:
        ValueError: naming the setting, what it may be, and what came.

    Example:
        >>> read("zoo", {"legs": Setting(4, (2, 4, 6)), "x": EDITS}, {"legs": "6", "x": "0.1:2.5"})
        {'legs': 6, 'x': {(0, 1): 2.5}}
    """
    if not isinstance(given, dict):
        raise ValueError(f"{room}: expected an object of settings, got {type(given).__name__}")
    for name in given:
        if name not in settings:
            raise ValueError(
                f"{room}: no setting is called {name!r}; there are {', '.join(settings)}"
            )
    return {name: _one(room, name, *each, given) for name, each in settings.items()}


def _one(room: str, name: str, default: Any, values: Sequence[Any] | None, given: Any) -> Any:
    if values is None:
        return _edits(room, name, given.get(name, default))
    known = {str(value): value for value in values}
    text = given.get(name, str(default))
    if not isinstance(text, str) or text not in known:
        raise ValueError(f"{room}: {name} must be one of {', '.join(known)}, got {text!r:.80}")
    return known[text]


def _edits(room: str, name: str, text: Any) -> Edits:
    """``0.2.3:1.5,0.0.1:-2`` as numbers by place."""
    parts = text.split(",") if isinstance(text, str) and text else []
    found = [_EDIT.fullmatch(part) for part in parts]
    edits = {tuple(map(int, f[1].split("."))): float(f[2]) for f in found if f}
    fine = len(parts) <= MOST_EDITS and all(found) and all(abs(v) <= MOST for v in edits.values())
    if not isinstance(text, str) or not fine:
        raise ValueError(
            f"{room}: {name} must be at most {MOST_EDITS} places with numbers of at most {MOST:g}, "
            f"such as 0.2.3:1.5,0.0.1:-2, got {text!r:.80}"
        )
    return edits


def edited(numbers: NDArray[Any], edits: Edits) -> NDArray[Any]:
    """A copy in float64 with these numbers in it; places that lie outside wait until it grows."""
    numbers = numbers.astype(np.float64)
    for place, value in edits.items():
        if len(place) == numbers.ndim and all(map(int.__lt__, place, numbers.shape)):
            numbers[place] = value
    return numbers


def changes(settings: Mapping[str, Setting], now: State, then: State) -> dict[str, str | None]:
    """What to write into the address to come from one state to another; None is the default.

    Example:
        >>> zoo = {"legs": Setting(4, (2, 4, 6)), "tail": Setting("no", ("no", "yes"))}
        >>> changes(zoo, {"legs": 6, "tail": "no"}, {"legs": 4, "tail": "yes"})
        {'legs': None, 'tail': 'yes'}
    """
    return {
        name: None if then[name] == setting.default else str(then[name])
        for name, setting in settings.items()
        if then[name] != now[name]
    }


def control(
    settings: Mapping[str, Setting], now: State, name: str, label: Sequence[str],
    values: Iterable[Any] | None = None, there: Callable[[Any], State | None] | None = None,
    value: Any = None,
) -> dict[str, Any]:  # fmt: skip
    """What a page needs for a slider or a choice that offers valid values only.

    Args:
        name: of the control, mostly that of a setting.
        label: how its row is called, and its column if the row has several.
        values: all that may come into question; those of the setting by default.
        there: the state with such a value, or None where it makes no sense; any does by default.
        value: what it stands at; that of the setting by default.
    """
    value = now[name] if value is None else value
    values = settings[name].values or () if values is None else values
    states = [(each, there(each) if there else now | {name: each}) for each in values]
    offered = [(each, state) for each, state in states if state is not None]
    return {
        "name": name,
        "label": [*label],
        "at": [each for each, _ in offered].index(value),
        "options": [[str(each), changes(settings, now, state)] for each, state in offered],
    }


def plain(numbers: Any) -> list[Any]:
    """An array as nested lists, each number with the digits that tell it from its neighbours.

    Example:
        >>> plain(np.array([0.1, 2], np.float32))
        [0.1, 2.0]
    """
    array = np.asarray(numbers)
    if array.dtype.kind != "f":
        return array.tolist()
    flat = [float(str(v)) if math.isfinite(v) else None for v in array.ravel()]
    return np.array(flat, object).reshape(array.shape).tolist()
