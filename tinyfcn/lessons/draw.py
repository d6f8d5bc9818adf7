"""Small pictures of numbers: grids, curves, bars, and several of them on one sheet.

They are made for a phone: a sheet is at most 780 pixels wide, letters are 26 high, so half of that
can still be read. Colours are those of Okabe and Ito, which every eye tells apart.
"""

from __future__ import annotations

import functools
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WIDTH, LETTERS, GAP = 780, 26, 26
INK, PAPER, FRAME, MARK = (34, 34, 34), (255, 255, 255), (204, 204, 204), (204, 0, 102)
PLUS, MINUS = np.array([0, 84, 150]), np.array([213, 94, 0])
COLOURS = (0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (34, 34, 34), (230, 159, 0)
LUMINANCE = np.array([0.299, 0.587, 0.114])
FINE = 3  # curves are drawn so many times as large: Pillow's lines have steps


def grid(
    values: Any, title: str = "", side: int = 52, form: str | None = ".3g",
    marks: Any = None, most: float | None = None,
) -> Image.Image:  # fmt: skip
    """An array (H, W) as cells: blue above 0, orange below, empty where it is NaN.

    Args:
        values: the array.
        title: what stands above it.
        side: of a cell, in pixels.
        form: how numbers are written, None for colours alone.
        marks: an array of bool of the same shape: cells with a frame.
        most: the value of the darkest colour, by default the largest there is.

    Example:
        >>> grid([[1.0, -1.0]], side=10, form=None).getpixel((5, 5))
        (0, 84, 150)
    """
    values = np.asarray(values, np.float64)
    h, w = values.shape
    known = np.nan_to_num(values, posinf=0, neginf=0)
    share = np.clip(known / (most or float(np.abs(known).max()) or 1), -1, 1)[..., None]
    full = np.where(share > 0, PLUS, MINUS)
    cells = np.rint(255 + np.abs(share) * (full - 255)).astype(np.uint8)
    shown = Image.fromarray(cells).resize((w * side, h * side), Image.Resampling.NEAREST)
    picture = Image.new("RGB", (w * side + 1, h * side + 1), FRAME)
    picture.paste(shown, (0, 0))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, w * side, h * side), outline=FRAME)
    for i in range(h + 1) if side >= 16 else ():
        draw.line((0, i * side, w * side, i * side), FRAME)
    for j in range(w + 1) if side >= 16 else ():
        draw.line((j * side, 0, j * side, h * side), FRAME)
    for i, j in np.argwhere(np.isfinite(values)) if form is not None else ():
        text = format(float(values[i, j]) + 0.0, form or "")
        ink = PAPER if cells[i, j] @ LUMINANCE < 128 else INK
        place = (j + 0.5) * side, (i + 0.5) * side
        draw.text(place, text, ink, _fitting(text, side - 6), anchor="mm")
    framed = np.pad(np.zeros((h, w), bool) if marks is None else np.asarray(marks, bool), 1)
    for i, j in np.argwhere(framed) - 1:
        x, y, end, bottom = (n * side for n in (j, i, j + 1, i + 1))
        around = {(0, 1): (x, y, end, y), (2, 1): (x, bottom, end, bottom),
                  (1, 0): (x, y, x, bottom), (1, 2): (end, y, end, bottom)}  # fmt: skip
        for (down, right), edge in around.items():
            if not framed[i + down, j + right]:
                draw.line(edge, MARK, max(3, side // 10))
    return titled(title, picture)


def photo(image: Any, side: int, title: str = "") -> Image.Image:
    """An RGB image, uint8 (H, W, 3), as wide as ``side`` pixels.

    Example:
        >>> photo(np.zeros((2, 4, 3), np.uint8), 100).size
        (100, 50)
    """
    shown = Image.fromarray(np.ascontiguousarray(image, np.uint8))
    size = side, max(1, round(side * shown.height / shown.width))
    return titled(title, shown.resize(size, Image.Resampling.NEAREST))


def plot(
    lines: Mapping[str, tuple[Any, Any]], title: str = "", x: str = "", y: str = "", log: str = "",
    height: int = 400,
) -> Image.Image:  # fmt: skip
    """Curves by their names, each of xs and ys; what ``x`` and ``y`` are stands at the axes, and
    ``log`` names those that are logarithmic: "x", "y" or "xy". Values that are not finite, or not
    above 0 on such an axis, are left out.

    Example:
        >>> plot({"squares": ([1, 2, 3], [1, 4, 9])}).width
        780
    """
    points: dict[str, Any] = {}
    for name, both in lines.items():
        xs, ys = (np.atleast_1d(np.asarray(values, np.float64)) for values in both)
        good = np.isfinite(xs) & np.isfinite(ys)
        good &= (xs > 0) | ("x" not in log)
        good &= (ys > 0) | ("y" not in log)
        points[name] = xs[good], ys[good]
    left, right, top, bottom = (n * FINE for n in (120, WIDTH - 30, 16, height - (84 if x else 48)))
    picture = Image.new("RGB", (WIDTH * FINE, height * FINE), PAPER)
    draw, font = ImageDraw.Draw(picture), _font(22 * FINE)
    along = _Scale(np.concatenate([xs for xs, _ in points.values()]), left, right, "x" in log)
    zero = [] if "y" in log else [0.0]
    upward = _Scale(
        np.concatenate([zero, *(ys for _, ys in points.values())]), bottom, top, "y" in log
    )
    for value, place in upward.ticks():
        draw.line((left, place, right, place), FRAME, FINE)
        draw.text((left - 12 * FINE, place), _number(value), INK, font, "rm")
    for value, place in along.ticks():
        draw.line((place, bottom, place, bottom + 6 * FINE), INK, FINE)
        draw.text((place, bottom + 10 * FINE), _number(value), INK, font, "ma")
    draw.text(((left + right) / 2, (height - 48) * FINE), x, INK, font, "ma")
    for (xs, ys), colour in zip(points.values(), COLOURS, strict=False):
        places = list(zip(map(along, xs), map(upward, ys), strict=True))
        if places[1:]:
            draw.line(places, colour, 4 * FINE, "curve")
        for a, b in places if len(places) < 40 else ():
            draw.ellipse((a - 7 * FINE, b - 7 * FINE, a + 7 * FINE, b + 7 * FINE), colour)
    key = [(name, colour) for name, colour in zip(points, COLOURS, strict=False) if name]
    return titled("\n".join(filter(None, (title, y))), under(picture.reduce(FINE), _key(key)))


def bars(values: Mapping[str, float], title: str = "", form: str = ",.3g") -> Image.Image:
    """Numbers by their names, as bars from 0.

    Example:
        >>> bars({"half": 0.5, "whole": 1}).width
        780
    """
    font, line = _font(LETTERS), LETTERS + 32
    picture = Image.new("RGB", (WIDTH, line * len(values) + 8), PAPER)
    draw, most = ImageDraw.Draw(picture), max(*values.values(), 1e-300)
    for i, (name, value) in enumerate(values.items()):
        draw.text((0, i * line), name, INK, font)
        draw.text((WIDTH - 1, i * line), format(value, form), INK, font, "ra")
        top = i * line + LETTERS + 6
        draw.rectangle((0, top, WIDTH - 1, top + 14), (238, 238, 238))
        if value > 0:
            end = max(1, round(value / most * (WIDTH - 1)))
            draw.rectangle((0, top, end, top + 14), COLOURS[0])
    return titled(title, picture)


def sheet(*pictures: Image.Image | None, title: str = "") -> Image.Image:
    """Pictures from left to right, in as many rows as it takes, under a title; None begins a row.

    Example:
        >>> sheet(*[grid(np.ones((3, 5)))] * 3).width <= 780 + 2 * 16
        True
    """
    rows: list[list[Image.Image]] = [[]]
    for picture in pictures:
        if not picture or sum(p.width + GAP for p in rows[-1]) + picture.width > WIDTH:
            rows.append([])
        rows[-1] += [picture] if picture else []
    head = [titled(title, None)] if title else []
    lines = [*head, *(_beside(row) for row in rows if row)]
    width = max(line.width for line in lines)
    made = Image.new("RGB", (width + 32, sum(p.height + GAP for p in lines) + 6), PAPER)
    y = 16
    for line in lines:
        made.paste(line, (16, y))
        y += line.height + GAP
    return made


def titled(title: str, picture: Image.Image | None) -> Image.Image:
    """A picture under its title, of which lines that are too long for a sheet are broken."""
    if not title:
        return picture or Image.new("RGB", (1, 1), PAPER)
    font = _font(LETTERS)
    lines = [part for line in title.split("\n") for part in textwrap.wrap(line, 58) or [""]]
    width = max(math.ceil(font.getlength(line)) for line in lines)
    head = Image.new("RGB", (width, len(lines) * (LETTERS + 8) + 6), PAPER)
    for i, line in enumerate(lines):
        ImageDraw.Draw(head).text((0, i * (LETTERS + 8)), line, INK, font)
    return under(head, picture) if picture else head


def under(upper: Image.Image, lower: Image.Image) -> Image.Image:
    """Two pictures, one under the other."""
    made = Image.new("RGB", (max(upper.width, lower.width), upper.height + lower.height), PAPER)
    made.paste(upper, (0, 0))
    made.paste(lower, (0, upper.height))
    return made


def _beside(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures of a row, their titles in a line."""
    height = max(picture.height for picture in pictures)
    width = sum(picture.width + GAP for picture in pictures) - GAP
    made, x = Image.new("RGB", (width, height), PAPER), 0
    for picture in pictures:
        made.paste(picture, (x, 0))
        x += picture.width + GAP
    return made


def _key(entries: Sequence[tuple[str, Any]]) -> Image.Image:
    """Names behind their colours, one below the other."""
    if len(entries) < 2:
        return Image.new("RGB", (1, 1), PAPER)
    line = LETTERS + 10
    made = Image.new("RGB", (WIDTH, line * len(entries)), PAPER)
    draw = ImageDraw.Draw(made)
    for i, (name, colour) in enumerate(entries):
        draw.line((0, i * line + 15, 40, i * line + 15), colour, 6)
        draw.text((54, i * line), name, INK, _font(LETTERS))
    return made


class _Scale:
    """From values to pixels along an axis."""

    def __init__(self, values: Any, start: float, end: float, log: bool) -> None:
        low, high = float(values.min()), float(values.max())
        self.log, self.start, self.end = log, start, end
        self.low, self.high = (math.log10(low), math.log10(high)) if log else (low, high)
        self.high = self.high if self.high > self.low else self.low + 1

    def __call__(self, value: float) -> float:
        place = math.log10(value) if self.log else value
        return self.start + (place - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[tuple[float, float]]:
        """Round values and their places, about five."""
        span = self.high - self.low
        if self.log and span >= 2:
            powers = range(math.ceil(self.low), math.floor(self.high) + 1, math.ceil(span / 6))
            values = [10.0**n for n in powers]
        elif self.log:
            values = [m * 10.0**n for n in range(-12, 13) for m in (1.0, 2.0, 5.0)]
            values = [v for v in values if self.low - 1e-9 <= math.log10(v) <= self.high + 1e-9]
        else:
            step = 10.0 ** math.floor(math.log10(span / 4))
            step *= next(m for m in (1, 2, 2.5, 5, 10) if span / (step * m) <= 5.5)
            first = math.ceil(self.low / step - 1e-9)
            values = [step * n for n in range(first, math.floor(self.high / step + 1e-9) + 1)]
        return [(value, self(value)) for value in values]


def _number(value: float) -> str:
    """As short as can be: 20000 and 0.05, but 1e6 and 1e-3."""
    if value and not 1e-2 <= abs(value) < 1e5:
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"


@functools.cache
def _font(letters: int) -> Any:
    return ImageFont.load_default(letters)


@functools.cache
def _fitting(text: str, width: int) -> Any:
    """The largest font up to LETTERS in which a text fits into a width."""
    size = LETTERS
    while size > 8 and _font(size).getlength(text) > width:
        size -= 1
    return _font(size)
