"""What rooms of grids are written with: groups, grids, numbers, programs; ``web/groups.js`` draws
them, without knowing what they are.

Each cell bears the numbers of what it shows (a pixel, an element, a channel): whoever points at one
sees all cells that bear the same, and those that ``near`` in the answer adds to a number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfcn.explorer.settings import plain


def group(title: str, grids: Sequence[Any], **more: Any) -> dict[str, Any]:
    """Grids under a title, with a line of ``code``, a ``note``, a ``problem``, ``facts``, or
    ``controls``; ``beside`` says that others may stand beside it."""
    return {"title": title, "grids": grids, **more}


def grid(
    name: str, what: str, tone: str, values: NDArray[Any], planes: Sequence[str] = (),
    shaded: bool = False, **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """A grid (H, W), or planes of them (..., H, W).

    Args:
        tone: the letter of its colour.
        planes: how each is called; by default as in code, if there are several.
        shaded: whether large numbers have more colour.
        more: ``key``, by default the name; ``ids``, for each cell the number of what it shows, or
            several, or that of the first cell (by default its place in its plane); ``looks`` and
            ``words``, how each cell looks and what is to be said of it; ``edit``, the setting of
            its changed numbers; ``paint``, whether a brush changes them; ``digits``, at most shown;
            ``narrow``, whether these need little room; ``pad``, rows and columns around it, in
            which ``outside`` stands.
    """
    rows, columns = values.shape[-2:]
    places = [[*map(str, place)] for place in np.ndindex(values.shape[:-2])]
    planes = planes or [f"{name}[{', '.join(p)}]" if len(places) > 1 else "" for p in places]
    return {
        "key": name, "name": name, "what": what, "tone": tone, "edit": None, "pad": (0, 0),
        "planes": [[text, ".".join([*at, ""])] for text, at in zip(planes, places, strict=True)],
        "shape": values.shape, "rows": rows, "columns": columns, "values": plain(values.ravel()),
        "ids": [i % (rows * columns) for i in range(values.size)] if values.ndim > 2 else 0,
        "shade": float(np.abs(values).max(initial=0)) if shaded else 0.0,
        **{n: v.ravel().tolist() if isinstance(v, np.ndarray) else v for n, v in more.items()},
    }  # fmt: skip


def number(value: Any, digits: int = 4) -> str:
    """A number in a sentence.

    Example:
        >>> number(0.123456), number(float("nan"))
        ('0.1235', 'undefined (0 / 0)')
    """
    return "undefined (0 / 0)" if math.isnan(value) else minus(f"{float(value):.{digits}g}")


def minus(text: str) -> str:
    """A formula with the sign for minus."""
    return text.replace("-", "\u2212")


def program(lines: Sequence[str | tuple[str, str]]) -> dict[str, str]:
    """The same lines with both libraries, ``{0}`` being the name; a pair is one for each."""
    names = (
        ("tinyfcn", "tinyfcn", "tinyfcn.functional"),
        ("PyTorch", "torch", "torch.nn.functional"),
    )
    return {
        title: "\n".join([f"import {name}", f"import {functional} as F", "",
                          *((line if isinstance(line, str) else line[at]).replace("{0}", name)
                            for line in lines), ""])
        for at, (title, name, functional) in enumerate(names)
    }  # fmt: skip
