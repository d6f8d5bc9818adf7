"""What training prints: progress bars, and one table that grows by an epoch at a time."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import sys
import textwrap
from collections.abc import MutableMapping, Sequence
from typing import Any

from tqdm import tqdm

from tinyfcn.metrics import Scores

HEAD = "  epoch      loss  pixel acc  mean acc  mean IU  f.w. IU   time"
_INDENT = " " * 9


def row(label: str, scores: Scores, loss: float | None, seconds: float) -> str:
    """One line of the table, under ``HEAD``."""
    return (
        f"{label:>7}  {'' if loss is None else format(loss, '8.4g'):>8}"
        f"  {scores.pixel_accuracy:9.3f}  {scores.mean_accuracy:8.3f}"
        f"  {scores.mean_iu:7.3f}  {scores.fw_iu:7.3f}  {minutes(seconds):>5}"
    )


def class_lines(scores: Scores, classes: Sequence[str]) -> str:
    """The IU of each class, as wide as the terminal; ``-`` for a class that does not occur.

    Example:
        >>> import numpy as np
        >>> from tinyfcn.metrics import scores
        >>> print(class_lines(scores(np.diag([3, 1, 0])), ["sky", "sea", "sand"]).strip())
        sky 1.00  sea 1.00  sand -
    """
    # Hard spaces keep a name and its number on one line.
    parts = [
        f"{name} {'-' if math.isnan(iu) else format(iu, '.2f')}".replace(" ", "\xa0")
        for name, iu in zip(classes, scores.iu, strict=True)
    ]
    width = min(100, _terminal()[0])
    text = textwrap.fill(
        "  ".join(parts), width, initial_indent=_INDENT, subsequent_indent=_INDENT,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return text.replace("\xa0", " ")


def bar(iterable: Any = None, unit: str = " images", **options: Any) -> Any:
    """A progress bar with units per second and the time left; it goes away when it is done.

    On a terminal it moves all the time; in a file, one line in ten seconds is plenty.
    """
    often, lines = 0.1 if sys.stderr.isatty() else 10.0, _terminal()[1]
    return _Bar(iterable, unit=unit, leave=False, mininterval=often, nrows=lines, **options)


class _Bar(tqdm):
    """As wide as the screen is now. On a narrow one first the count goes, then images per second,
    then the bar; the postfix stays, and stands for the time left where it is set."""

    @property
    def format_dict(self) -> MutableMapping[str, Any]:
        columns = self.ncols = min(120, _terminal()[0])
        tail: Any = self.postfix
        self.bar_format = (
            "{desc} {percentage:3.0f}%"
            + ("|{bar}| " if columns >= 60 else " ")
            + "{n_fmt}/{total_fmt}, " * (columns >= 100)
            + "{rate_noinv_fmt}, " * (columns >= 80)
            + (tail or "{remaining} left")
        )
        return super().format_dict


def note(text: str) -> None:
    """A line on stderr, above the bars that are there."""
    tqdm.write(text, file=sys.stderr)


def line(text: str) -> None:
    """A line on stdout, above the bars that are there."""
    tqdm.write(text, file=sys.stdout)


def _terminal() -> tuple[int, int]:
    """Columns and lines; 80 × 24 where nobody knows, which is 0 × 0 to Python 3.10."""
    fallback = (0, 0)
    with contextlib.suppress(OSError):  # bars may have a terminal where ``| tee`` takes the rest
        fallback = os.get_terminal_size(2)
    columns, lines = shutil.get_terminal_size(fallback)
    return columns or 80, lines or 24


def minutes(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss.

    Example:
        >>> minutes(75), minutes(3675)
        ('1:15', '1:01:15')
    """
    total, seconds = divmod(round(seconds), 60)
    hours, total = divmod(total, 60)
    return f"{hours}:{total:02}:{seconds:02}" if hours else f"{total}:{seconds:02}"
