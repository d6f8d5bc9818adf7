"""Pictures: overlays of masks, sheets of predictions, training curves.

Everything is drawn with Pillow, in the colours of :func:`~tinyfcn.data.class_palette`, so that a
colour means the same class in a mask file, in an overlay and in a sheet. Only the curves need
matplotlib (the extra ``plot``).
"""

from __future__ import annotations

import contextlib
import functools
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
from tinyfcn.metrics import SCORES

_PAPER, _INK, _FRAME = (255, 255, 255), (32, 32, 32), (160, 160, 160)
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
    if legend and (scale := _enlarged(image, _SEEN)) > 1:
        image = np.asarray(_scaled(image, scale * len(image), soft=True))
        mask = mask.repeat(scale, axis=0).repeat(scale, axis=1)
    clear = np.isin(mask, [i for i, name in enumerate(classes) if is_background(name)])
    inside, outline = (np.uint8(round(255 * min(1, share))) for share in (opacity, 2 * opacity))
    weight = np.where(borders(mask), outline, inside)
    weight[clear] = 0
    colours = index_to_rgb(mask, class_palette(classes))
    picture = Image.composite(*map(Image.fromarray, (colours, image, weight)))
    return _keyed(picture, _letters(*picture.size), [mask[~clear]], classes) if legend else picture


def sheet(
    rows: Iterable[Sequence[NDArray[Any]]],
    classes: Sequence[str],
    titles: Sequence[str] = ("image", "truth", "prediction"),
    height: int | None = None,
) -> Image.Image:
    """Rows of an image and masks of it under column titles, with one legend for all.

    Args:
        rows: for each row the image, uint8 RGB (H, W, 3), then as many masks (H, W) as there are
            further titles; void is shown in its colour.
        classes: the name of each index.
        titles: what stands over the columns.
        height: scale each row to this many pixels; by default as it is, or, if small, enlarged by
            a whole number.

    Example:
        >>> image, mask = np.zeros((60, 80, 3), np.uint8), np.ones((60, 80), np.uint8)
        >>> sheet([(image, mask, mask)], ["background", "cat"]).width
        512
    """
    palette = class_palette(classes)
    lines: list[list[Image.Image]] = []
    masks: list[NDArray[Any]] = []
    for image, *labels in rows:
        if len(labels) + 1 != len(titles):
            raise ValueError(f"sheet: a row has {len(labels) + 1} parts for {len(titles)} titles")
        parts = [np.asarray(image), *(index_to_rgb(mask, palette) for mask in labels)]
        sizes = {part.shape[:2] for part in parts}
        if len(sizes) > 1:
            raise ValueError(f"sheet: image and masks of a row differ in size: {sizes}")
        tall = height or len(image) * _enlarged(parts[0], _SEEN // 2)
        lines.append([_scaled(part, tall, soft=part is parts[0]) for part in parts])
        masks += labels
    if not lines:
        raise ValueError("sheet: expected at least one row of an image and its masks")
    return _laid_out(lines, titles, masks, classes)


def overlays(
    rows: Sequence[Sequence[tuple[NDArray[np.uint8], NDArray[Any]]]],
    classes: Sequence[str],
    titles: Sequence[str],
    height: int = 192,
) -> Image.Image:
    """Rows of images with their masks laid over, under column titles, with one legend for all.

    Args:
        rows: for each title an image, uint8 RGB (H, W, 3), and its mask (H, W), of any size.
        classes: the name of each index.
        titles: what stands over the columns.
        height: to which all are scaled, in pixels.

    Example:
        >>> pair = np.zeros((60, 80, 3), np.uint8), np.ones((60, 80), np.uint8)
        >>> overlays([[pair, pair]], ["background", "cat"], ["as it is", "epoch 1"]).width
        536
    """
    lines = [
        [_scaled(np.asarray(overlay(*pair, classes, legend=False)), height, soft=True)
         for pair in row]
        for row in rows
    ]  # fmt: skip
    return _laid_out(lines, titles, [mask for row in rows for _, mask in row], classes)


def _laid_out(
    lines: list[list[Image.Image]],
    titles: Sequence[str],
    masks: Iterable[NDArray[Any]],
    classes: Sequence[str],
) -> Image.Image:
    """The pictures in rows under column titles, and the key to what is in the masks."""
    letters = _letters(len(titles) * lines[0][0].width, sum(line[0].height for line in lines))
    gap, font = _gap(letters), _font("", letters)
    widths = [  # a title may reach into the gaps beside its column
        max(round(font.getlength(title)) - gap // 2, *(line[column].width for line in lines))
        for column, title in enumerate(titles)
    ]
    # Where each column and row begins, and where the next one would; titles stand above.
    first = gap + letters + letters // 3 + gap
    *lefts, right = itertools.accumulate((width + gap for width in widths), initial=gap)
    *tops, bottom = itertools.accumulate((line[0].height + gap for line in lines), initial=first)
    picture = Image.new("RGB", (right, bottom - gap), _PAPER)
    draw = ImageDraw.Draw(picture)
    for title, left, width in zip(titles, lefts, widths, strict=True):
        draw.text((left + width / 2, gap), title, _INK, font, anchor="ma")
    for line, top in zip(lines, tops, strict=True):
        for part, left in zip(line, lefts, strict=True):
            picture.paste(part, (left, top))
    return _keyed(picture, letters, masks, classes)


def plot_curves(rows: Sequence[Mapping[str, float]], path: Any) -> None:
    """Draw loss and scores over the epochs into a PNG.

    Args:
        rows: the rows of a run's log: epoch, train_loss, pixel_accuracy, mean_accuracy, mean_iu
            and fw_iu of each epoch.
        path: a file name or a file open for writing.

    Raises:
        ImportError: if matplotlib is missing; names the extra to install.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "drawing curves needs matplotlib: install the extra with `pip install tinyfcn[plot]`"
        ) from error
    epochs = [row["epoch"] for row in rows]
    # A figure of its own, not pyplot, which would keep it for ever and may look for a screen.
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    line = "o-" if len(rows) == 1 else "-"
    left.plot(epochs, [row["train_loss"] for row in rows], line, color="black")
    left.set(title="training loss", xlabel="epoch")
    colours = class_palette(())[::2] / 255  # without those that are pale on paper
    for (name, label), colour in zip(SCORES.items(), colours, strict=False):
        width = 2.4 if name == "mean_iu" else 1.2
        values = [row[name] for row in rows]
        right.plot(epochs, values, line, label=label, linewidth=width, color=colour)
    right.set(title="scores on the validation set", xlabel="epoch", ylim=(0, 1))
    right.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    for axes in (left, right):
        axes.locator_params("x", integer=True)
        if len(epochs) == 1:  # around a single one there would be parts of epochs
            axes.set_xlim(epochs[0] - 1, epochs[0] + 1)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120, format="png")


def made_by(command: str) -> PngImagePlugin.PngInfo:
    """What a PNG says of its origin: the option ``pnginfo`` of Pillow's writer."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Software", command)
    return info


def _keyed(
    picture: Image.Image, letters: int, masks: Iterable[NDArray[Any]], classes: Sequence[str]
) -> Image.Image:
    """The picture over colour and name of each class in the masks, in as many lines as it takes."""
    palette, gap = class_palette(classes), _gap(letters)
    found = sorted({int(label) for mask in masks for label in np.unique(mask)})
    names = {**dict(enumerate(classes)), VOID: "void"}
    entries = [written(label, names.get(label, str(label)), letters) for label in found]
    spaces = [letters + gap // 2 + round(font.getlength(text)) for text, font in entries]
    width = max(picture.width, *(space + 2 * gap for space in spaces), 1)
    x, y = gap, picture.height + gap
    below = (0, 0, width - picture.width, gap + len(found) * (letters + gap))
    picture = ImageOps.expand(picture, below, _PAPER)
    draw = ImageDraw.Draw(picture)
    for label, (text, font), space in zip(found, entries, spaces, strict=True):
        if x > gap and x + space + gap > width:
            x, y = gap, y + letters + gap
        colour = tuple(palette[label].tolist())
        draw.rectangle((x, y, x + letters - 1, y + letters - 1), fill=colour, outline=_FRAME)
        draw.text((x + letters + gap // 2, y + letters / 2), text, _INK, font, anchor="lm")
        x += space + 2 * gap
    return picture.crop((0, 0, width, y + letters + gap if found else y - gap))


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
    return max(13, round(math.sqrt(width * height) / 64))


def _gap(letters: int) -> int:
    """Pixels between the parts of a picture."""
    return letters * 8 // 13


def _enlarged(image: NDArray[Any], least: int) -> int:
    """How many times as large an image must be for so many pixels in width or height."""
    return math.ceil(least / max(1, *image.shape[:2]))


def _scaled(pixels: NDArray[np.uint8], height: int, soft: bool) -> Image.Image:
    """The pixels as a picture of the given height; colours of a mask are never mixed."""
    picture = Image.fromarray(np.ascontiguousarray(pixels, np.uint8))
    size = (max(1, round(picture.width * height / picture.height)), height)
    method = Image.Resampling.BILINEAR if soft else Image.Resampling.NEAREST
    return picture.resize(size, method)
