"""Pictures: overlays of masks, sheets of predictions, training curves, confusion matrices.

Everything is drawn with Pillow, in the colours of :func:`~tinyfcn.data.class_palette`, so that a
colour means the same class in a mask file, in an overlay and in a sheet.
"""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps, PngImagePlugin

from tinyfcn.data.class_colours import class_palette, is_background
from tinyfcn.data.conventions import borders
from tinyfcn.data.palette import VOID, index_to_rgb
from tinyfcn.metrics import SCORES, Scores

_PAPER, _INK, _FRAME, _GRID = (255, 255, 255), (32, 32, 32), (160, 160, 160), (230, 230, 230)
_FULL = np.array([0, 68, 136])  # a cell of 100 %
_LEAST = 13  # height of letters that can be read, in pixels
_SEEN = 256  # an overlay with a legend is at least so many pixels wide or high; half, in a sheet
# Where to look for a letter that Pillow's own font lacks, which has those of English.
_FONTS = "DejaVuSans.ttf", "NotoSansCJK-Regular.ttc", "Arial Unicode.ttf", "arial.ttf", "msyh.ttc"
_LONG = 40  # letters of a name, of longer ones the middle is left out

Triple = tuple[NDArray[np.uint8], NDArray[Any], NDArray[Any]]


def overlay(
    image: NDArray[np.uint8],
    mask: NDArray[Any],
    classes: Sequence[str],
    opacity: float = 0.5,
    legend: bool = True,
) -> Image.Image:
    """Lay the colours of a mask over its image, with the outlines of the regions and a legend.

    A class of the name "background" is left clear and out of the legend. With a legend the picture
    is for looking at: small ones are enlarged by a whole number, and letters grow with large ones.

    Args:
        image: uint8 RGB (H, W, 3).
        mask: class indices (H, W), 255 for void.
        classes: the name of each index.
        opacity: of the colours, from 0 (the image alone) to 1 (the mask alone).
        legend: whether the classes that occur are listed below, with their colours.

    Returns:
        An RGB picture: without a legend, of the image's size.

    Example:
        >>> image, mask = np.zeros((60, 80, 3), np.uint8), np.ones((60, 80), np.uint8)
        >>> overlay(image, mask, ["background", "cat"], legend=False).getpixel((40, 30))
        (115, 80, 0)
    """
    mask = np.asarray(mask)
    if image.shape != (*mask.shape, 3):
        raise ValueError(
            f"overlay: image {image.shape} must be (H, W, 3) over the mask's (H, W) {mask.shape}"
        )
    if not 0 <= opacity <= 1:
        raise ValueError(f"overlay: opacity must be between 0 and 1, got {opacity}")
    picture = Image.fromarray(np.ascontiguousarray(image, np.uint8))
    if legend and (scale := _enlarged(picture, _SEEN)) > 1:
        picture = _scaled(picture, scale * picture.height)
        mask = mask.repeat(scale, axis=0).repeat(scale, axis=1)
    clear = np.isin(mask, [i for i, name in enumerate(classes) if is_background(name)])
    inside, outline = (np.uint8(round(255 * min(1, share))) for share in (opacity, 2 * opacity))
    weight = np.where(borders(mask), outline, inside)
    weight[clear] = 0
    colours = Image.fromarray(index_to_rgb(mask, class_palette(classes)))
    picture = Image.composite(colours, picture, Image.fromarray(weight))
    if legend:
        picture = _keyed(picture, _letters(*picture.size), _key([mask[~clear]], classes))
    return picture


def sheet(
    rows: Iterable[Sequence[NDArray[Any] | tuple[NDArray[np.uint8], NDArray[Any]]]],
    classes: Sequence[str],
    titles: Sequence[str] = ("image", "truth", "prediction"),
    height: int | None = None,
) -> Image.Image:
    """Rows of images and masks under column titles, with one legend for all.

    Args:
        rows: for each title an image, uint8 RGB (H, W, 3), a mask (H, W), of which void is shown in
            its colour too, or a pair of both, of which the mask is laid over the image.
        classes: the name of each index.
        titles: what stands over the columns.
        height: scale each row to this many pixels; by default as it is, or, if small, enlarged by
            a whole number.

    Example:
        >>> image, mask = np.zeros((60, 80, 3), np.uint8), np.ones((60, 80), np.uint8)
        >>> sheet([(image, mask, mask)], ["background", "cat"]).width
        512
        >>> sheet([[(image, mask), mask]], ["background", "cat"], ["a", "b"], 120).width
        344
    """
    lines: list[list[Image.Image]] = []
    masks: list[NDArray[Any]] = []
    for row in rows:
        if len(row) != len(titles):
            raise ValueError(f"sheet: a row has {len(row)} parts for {len(titles)} titles")
        parts = []
        for part in row:
            if isinstance(part, tuple):
                masks.append(part[1])
                parts.append(overlay(*part, classes, legend=False))
            elif part.ndim == 2:
                masks.append(part)
                parts.append(in_colours(part, classes))
            else:
                parts.append(Image.fromarray(np.ascontiguousarray(part, np.uint8)))
        sizes = {part.size for part in parts}
        if len(sizes) > 1 and height is None:
            raise ValueError(f"sheet: image and masks of a row differ in size: {sizes}")
        tall = height or parts[0].height * _enlarged(parts[0], _SEEN // 2)
        lines.append([_scaled(part, tall) for part in parts])
    if not lines:
        raise ValueError("sheet: expected at least one row of an image and its masks")
    letters = _letters(len(titles) * lines[0][0].width, sum(line[0].height for line in lines))
    gap, font = _gap(letters), _font("", letters)
    widths = [  # a title may reach into the gaps beside its column
        max(round(font.getlength(title)) - gap // 2, *(line[column].width for line in lines))
        for column, title in enumerate(titles)
    ]
    # Where each column and row begins, and where the next one would; titles stand above.
    head = gap + letters + letters // 3 + gap
    *lefts, right = itertools.accumulate((width + gap for width in widths), initial=gap)
    *tops, bottom = itertools.accumulate((line[0].height + gap for line in lines), initial=head)
    picture = Image.new("RGB", (right, bottom - gap), _PAPER)
    draw = ImageDraw.Draw(picture)
    for title, left, width in zip(titles, lefts, widths, strict=True):
        draw.text((left + width / 2, gap), title, _INK, font, anchor="ma")
    for line, top in zip(lines, tops, strict=True):
        for shown, left in zip(line, lefts, strict=True):
            picture.paste(shown, (left, top))
    return _keyed(picture, letters, _key(masks, classes))


def in_colours(mask: NDArray[Any], classes: Sequence[str]) -> Image.Image:
    """A mask (H, W) as a picture with a palette.

    Example:
        >>> in_colours(np.ones((1, 1), np.uint8), ["background", "cat"]).convert("RGB").getcolors()
        [(1, (230, 159, 0))]
    """
    picture = Image.fromarray(np.ascontiguousarray(mask, np.uint8))
    picture.putpalette(class_palette(classes).tobytes())
    return picture


def plot_curves(rows: Sequence[Mapping[str, float]]) -> list[Image.Image]:
    """The training loss and the scores over the epochs, in two pictures.

    Args:
        rows: the rows of a run's log, at least one: epoch, train_loss, pixel_accuracy,
            mean_accuracy, mean_iu and fw_iu of each epoch. What is not finite is left out.

    Example:
        >>> row = {"epoch": 1, "train_loss": 0.5, **dict.fromkeys(SCORES, 0.25)}
        >>> [picture.width for picture in plot_curves([row])]
        [640, 640]
    """
    most = max([row["train_loss"] for row in rows if math.isfinite(row["train_loss"])], default=1)
    unit = 10 ** math.floor(math.log10(most or 1))
    colours = map(tuple, class_palette(())[::2].tolist())  # without those that are pale on paper
    scores = {name: (label, next(colours)) for name, label in SCORES.items()}
    return [
        _plot(rows, {"train_loss": ("training loss", _INK)}, unit * math.ceil(most / unit) or 1),
        _plot(rows, scores, 1),
    ]


def _plot(
    rows: Sequence[Mapping[str, float]], columns: Mapping[str, tuple[str, Any]], top: float
) -> Image.Image:
    """Columns of a log, each with its label and colour, from 0 to ``top`` over the epochs."""
    fine, letters = 4, 20  # drawn so many times as large: Pillow's lines have steps
    left, right, high, low = (n * fine for n in (64, 620, 16, 296))
    first, last = rows[0]["epoch"], rows[-1]["epoch"]
    picture = Image.new("RGB", (640 * fine, 356 * fine), _PAPER)
    draw, font = ImageDraw.Draw(picture), _font("", letters * fine)

    def place(epoch: float, share: float) -> tuple[float, float]:
        along = (epoch - first) / (last - first) if last > first else 0.5
        return left + along * (right - left), low - share * (low - high)

    for share in (0, 0.25, 0.5, 0.75, 1):
        _, y = place(first, share)
        draw.line((left, y, right, y), _FRAME, fine)
        draw.text((left - 10 * fine, y), f"{share * top:.3g}", _INK, font, "rm")
    for epoch in {round(n) for n in np.linspace(first, last, 5)}:
        draw.text((place(epoch, 0)[0], low + 6 * fine), str(epoch), _INK, font, "ma")
    draw.text(((left + right) / 2, low + 32 * fine), "epoch", _INK, font, "ma")
    for name, (_, colour) in columns.items():
        known = [row for row in rows if math.isfinite(row[name])]
        points = [place(row["epoch"], row[name] / top) for row in known]
        width = (5 if name == "mean_iu" else 3) * fine
        if points[1:]:
            draw.line(points, colour, width, "curve")
        for x, y in points[:1] + points[-1:]:
            draw.ellipse((x - width, y - width, x + width, y + width), colour)
    return _keyed(picture.reduce(fine), letters, dict(enumerate(columns.values())))


def plot_confusion(scores: Scores, classes: Sequence[str]) -> Image.Image:
    """The confusion matrix as a picture: of the pixels of the class of a line, how many in a
    hundred were taken for that of the column.

    Example:
        >>> from tinyfcn.metrics import scores
        >>> plot_confusion(scores([[3, 1], [0, 4]]), ["sea", "sky"]).getpixel((90, 82))
        (0, 68, 136)
    """
    side = 30 if len(classes) <= 40 else max(4, 1200 // len(classes))
    small, gap = min(_LEAST, side), _gap(_LEAST)
    font = _font("", small)
    names = [written(i, name, small) for i, name in enumerate(classes)]
    left = 2 * gap + max(round(own.getlength(f"{n} {i}")) for i, (n, own) in enumerate(names))
    top, size = 4 * gap + _LEAST, len(classes) * side
    picture = Image.new("RGB", (max(left + size + gap, 400), top + size + gap), _PAPER)
    shares = scores.counts / np.maximum(1, scores.counts.sum(axis=1, keepdims=True))
    depths = shares[..., None] ** 0.5  # which shows what is rare
    cells = Image.fromarray(np.rint(255 + depths * (_FULL - 255)).astype(np.uint8))
    picture.paste(cells.resize((size, size), Image.Resampling.NEAREST), (left, top))
    draw = ImageDraw.Draw(picture)
    note = "line: true class; column: predicted class; in % of the line"
    draw.text((gap, gap), note, _INK, _font("", _LEAST))
    middles = (np.arange(len(classes)) + 0.5) * side
    for i, (name, own) in enumerate(names):
        draw.text((left - gap, top + middles[i]), f"{name} {i}", _INK, own, "rm")
        draw.text((left + middles[i], top - gap), str(i), _INK, font, "mb")
    for i, j in np.argwhere(shares >= 0.005) if side >= 2 * _LEAST else ():
        ink = _PAPER if shares[i, j] > 0.25 else _INK
        place = (left + middles[j], top + middles[i])
        draw.text(place, f"{100 * shares[i, j]:.0f}", ink, font, "mm")
    for end in range(side - 1, size, side):
        draw.line((left, top + end, left + size, top + end), _GRID)
        draw.line((left + end, top, left + end, top + size), _GRID)
    return picture


def png(picture: Image.Image, command: str) -> bytes:
    """A picture as a file of PNG that says who made it.

    Example:
        >>> png(Image.new("RGB", (2, 1)), "tinyfcn check")[1:4]
        b'PNG'
    """
    picture.save(file := io.BytesIO(), "PNG", pnginfo=made_by(command))
    return file.getvalue()


def made_by(command: str) -> PngImagePlugin.PngInfo:
    """What a PNG says of its origin: the option ``pnginfo`` of Pillow's writer."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Software", command)
    return info


def _key(masks: Iterable[NDArray[Any]], classes: Sequence[str]) -> dict[int, tuple[str, Any]]:
    """Name and colour of each label in the masks."""
    palette, names = class_palette(classes), {**dict(enumerate(classes)), VOID: "void"}
    found = sorted({int(label) for mask in masks for label in np.unique(mask)})
    return {i: (names.get(i, str(i)), tuple(palette[i].tolist())) for i in found}


def _keyed(picture: Image.Image, letters: int, key: Mapping[int, tuple[str, Any]]) -> Image.Image:
    """The picture over names behind their colours, in as many lines as it takes."""
    gap = _gap(letters)
    entries = [(*written(number, name, letters), colour) for number, (name, colour) in key.items()]
    spaces = [letters + gap // 2 + round(font.getlength(text)) for text, font, _ in entries]
    width = max(picture.width, *(space + 2 * gap for space in spaces), 1)
    x, y = gap, picture.height + gap
    below = (0, 0, width - picture.width, gap + len(entries) * (letters + gap))
    picture = ImageOps.expand(picture, below, _PAPER)
    draw = ImageDraw.Draw(picture)
    for (text, font, colour), space in zip(entries, spaces, strict=True):
        if x > gap and x + space + gap > width:
            x, y = gap, y + letters + gap
        draw.rectangle((x, y, x + letters - 1, y + letters - 1), fill=colour, outline=_FRAME)
        draw.text((x + letters + gap // 2, y + letters / 2), text, _INK, font, anchor="lm")
        x += space + 2 * gap
    return picture.crop((0, 0, width, y + letters + gap if entries else y - gap))


def written(label: int, name: str, letters: int) -> tuple[str, Any]:
    """A name, not too long, and a font that has its letters; ``class 3`` where none has them."""
    name = " ".join(name.split())
    name = name if len(name) <= _LONG else f"{name[: _LONG // 2]}...{name[-_LONG // 2 :]}"
    for font in filter(None, (_font(file, letters) for file in ("", *_FONTS))):
        lacking, *drawn = (bytes(font.getmask(letter)) for letter in f"\uffff{name}")
        if lacking not in drawn:
            return name, font
    return f"class {label}", _font("", letters)


@functools.cache
def _font(file: str, letters: int) -> Any:
    """A font by the name of its file, or Pillow's own; None where the system lacks it."""
    with contextlib.suppress(OSError):
        return ImageFont.truetype(file, letters) if file else ImageFont.load_default(letters)


def _letters(width: int, height: int) -> int:
    """Height of letters that can be read in a picture of this size, in pixels."""
    return max(_LEAST, round(math.sqrt(width * height) / 64))


def _gap(letters: int) -> int:
    """Pixels between the parts of a picture."""
    return letters * 8 // _LEAST


def _enlarged(picture: Image.Image, least: int) -> int:
    """How many times as large a picture must be for so many pixels in width or height."""
    return math.ceil(least / max(1, *picture.size))


def _scaled(picture: Image.Image, height: int) -> Image.Image:
    """The picture with the given height; the colours of a palette, of a mask, are never mixed."""
    size = (max(1, round(picture.width * height / picture.height)), height)
    return picture.resize(size, Image.Resampling.BILINEAR)  # to the nearest, with a palette
