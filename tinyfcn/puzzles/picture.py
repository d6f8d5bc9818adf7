"""Arrays as pictures of numbers, for a text or a terminal, in plain ASCII."""

from __future__ import annotations

import os
import shutil
import sys

import numpy as np

from tinyfcn.puzzles.puzzle import Array

ROWS = 8  # of a plane that are shown
GAP = "   "  # between two arrays
GREEN, RED, PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[0m"


def cells(plane: Array, digits: int = 4) -> list[list[str]]:
    """A plane (rows, columns) as text, all of one width."""
    kind = f".{digits}g" if plane.dtype.kind == "f" else ""
    texts = [[format(value, kind) for value in row] for row in plane.tolist()]
    width = max((len(text) for row in texts for text in row), default=0)
    return [[text.rjust(width) for text in row] for row in texts]


def compared(name: str, expected: Array, got: Array, wrong: Array) -> str:
    """The plane with the first wrong element: expected beside got, where wrong ones have a star."""
    right, ours, marks = map(np.atleast_2d, (expected, got, wrong))
    *plane, row, column = (int(i) for i in np.unravel_index(marks.argmax(), marks.shape))
    for digits in (4, 8, 17):  # as many as it takes to see a difference
        texts = [cells(array[tuple(plane)], digits) for array in (right, ours)]
        if texts[0][row][column].strip() != texts[1][row][column].strip():
            break
    width = max(len(text) for rows in texts for text in rows[0]) + 2
    room = shutil.get_terminal_size().columns // 2 - len(GAP)
    rows = _span(row, marks.shape[-2], ROWS)
    columns = _span(column, marks.shape[-1], max(1, room // width))
    place = [*map(str, plane), f"{rows.start}:{rows.stop}", f"{columns.start}:{columns.stop}"]
    shown = ", ".join(place[len(place) - expected.ndim :])
    lines = [(f"expected {name}[{shown}]".removesuffix("[]"), "got (*: wrong)")]
    for a, b, bad in zip(*(text[rows] for text in texts), marks[tuple(plane)][rows], strict=True):
        left = "".join(text.rjust(width) for text in a[columns])
        pairs = zip(b[columns], bad[columns].tolist(), strict=True)
        lines.append((left, "".join(_marked(text, width, bad) for text, bad in pairs)))
    wide = max(len(left) for left, _ in lines)
    return "\n".join(f"{left:{wide}}{GAP}{right}" for left, right in lines)


def _marked(text: str, width: int, bad: bool) -> str:
    return coloured(f"*{text.strip()}".rjust(width), RED) if bad else text.rjust(width)


def _span(at: int, count: int, room: int) -> slice:
    """The part of ``count`` that is shown, with ``at`` in it."""
    begin = max(0, min(at - room // 2, count - room))
    return slice(begin, min(count, begin + room))


def coloured(text: str, colour: str) -> str:
    """The text, in a colour on a terminal that has some."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain or not sys.stdout.isatty() else f"{colour}{text}{PLAIN}"
