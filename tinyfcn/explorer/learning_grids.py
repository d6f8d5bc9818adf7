"""What the parts of the learning room are written with: grids, numbers, programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfcn.explorer.settings import plain


def grid(
    name: str, what: str, tone: str, values: NDArray[Any], planes: Sequence[str] = ("",),
    edit: str | None = None, ids: Any = None, looks: NDArray[Any] | None = None,
    words: Sequence[str] = (), paint: bool = False, shaded: bool = False, digits: int = 4,
    narrow: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """A grid (H, W), or planes of them (C, H, W).

    Args:
        tone: the letter of its colour.
        ids: of each cell the number of what it shows, or several; its place in its plane by
            default.
        looks: of each cell how it looks.
        words: of each cell what is to be said of it, if it shows several things.
        paint: whether its cells are painted with a brush.
        shaded: whether large numbers have more colour.
        digits: at most shown of a number.
        narrow: whether its numbers need little room.
    """
    rows, columns = values.shape[-2:]
    count = rows * columns
    cells = np.arange(values.size) % count if ids is None else ids
    shade = float(np.abs(values).max(initial=0)) if shaded else 0.0
    return {
        "name": name, "what": what, "tone": tone, "edit": edit, "words": [*words], "paint": paint,
        "planes": [[text, f"{i}." if values.ndim > 2 else ""] for i, text in enumerate(planes)],
        "shape": values.shape, "rows": rows, "columns": columns, "pad": (0, 0),
        "values": plain(values.ravel()),
        "ids": [each if isinstance(each, list) else [int(each)] for each in cells],
        "looks": [] if looks is None else looks.ravel().tolist(), "digits": digits, "shade": shade,
        "narrow": narrow,
    }  # fmt: skip


def number(value: Any, digits: int = 4) -> str:
    """A number in a sentence.

    Example:
        >>> number(0.123456), number(float("nan"))
        ('0.1235', 'undefined (0 / 0)')
    """
    if math.isnan(value):
        return "undefined (0 / 0)"
    return f"{float(value):.{digits}g}".replace("-", "\u2212")


def program(
    lines: Sequence[str], ours: Sequence[str] = (), theirs: Sequence[str] = ()
) -> dict[str, str]:
    """The same lines with both libraries, ``{0}`` being the name; and what only one needs."""
    return {
        title: "\n".join([f"import {name}", f"import {functional} as F", "",
                          *(line.replace("{0}", name) for line in lines), *more, ""])
        for title, name, functional, more in (
            ("tinyfcn", "tinyfcn", "tinyfcn.functional", ours),
            ("PyTorch", "torch", "torch.nn.functional", theirs),
        )
    }  # fmt: skip
