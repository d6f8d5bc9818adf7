"""Pictures: overlays of masks, sheets of predictions, training curves.

Everything is drawn with Pillow, in the VOC palette, so that a colour means the same class in a
mask file, in an overlay and in a sheet. Only the curves need matplotlib (the extra ``plot``).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps, PngImagePlugin

from tinyfcn.data.conventions import borders
from tinyfcn.data.palette import VOC_PALETTE, VOID, index_to_rgb
from tinyfcn.metrics import SCORES

_PAPER, _INK, _FRAME = (255, 255, 255), (32, 32, 32), (160, 160, 160)
_GAP = 8  # pixels between the parts of a picture
_TEXT = 13  # height of letters in pixels
_TOP = _GAP + _TEXT + 4 + _GAP  # where the first row of a sheet begins, below the titles

Triple = tuple[NDArray[np.uint8], NDArray[Any], NDArray[Any]]


def overlay(
    image: NDArray[np.uint8],
    mask: NDArray[Any],
    classes: Sequence[str],
    opacity: float = 0.5,
    legend: bool = True,
) -> Image.Image:
    """Lay the colours of a mask over its image, with the outlines of the regions and a legend.

    A class of the name "background" is left clear and out of the legend.

    Args:
        image: uint8 RGB (H, W, 3).
        mask: class indices (H, W), 255 for void.
        classes: the name of each index.
        opacity: of the colours, from 0 (the image alone) to 1 (the mask alone).
        legend: whether the classes that occur are listed below, with their colours.

    Returns:
        An RGB picture, as wide as the image, higher by the legend.

    Example:
        >>> image, mask = np.zeros((60, 80, 3), np.uint8), np.ones((60, 80), np.uint8)
        >>> overlay(image, mask, ["background", "cat"], legend=False).getpixel((40, 30))
        (64, 0, 0)
    """
    mask = np.asarray(mask)
    if image.shape != (*mask.shape, 3):
        raise ValueError(
            f"overlay: image {image.shape} must be (H, W, 3) over the mask's (H, W) {mask.shape}"
        )
    if not 0 <= opacity <= 1:
        raise ValueError(f"overlay: opacity must be between 0 and 1, got {opacity}")
    colours = index_to_rgb(mask).astype(np.float32)
    weight = np.where(borders(mask), min(1.0, 2 * opacity), opacity).astype(np.float32)
    clear = np.isin(mask, [index for index, name in enumerate(classes) if name == "background"])
    weight[clear] = 0
    mixed = image + weight[..., None] * (colours - image)
    picture = Image.fromarray(np.rint(mixed).astype(np.uint8))
    return _with_legend(picture, [mask[~clear]], classes) if legend else picture


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
        height: scale each row to this many pixels; by default as it is.

    Example:
        >>> image, mask = np.zeros((60, 80, 3), np.uint8), np.ones((60, 80), np.uint8)
        >>> sheet([(image, mask, mask)], ["background", "cat"]).width
        272
    """
    lines: list[list[Image.Image]] = []
    masks: list[NDArray[Any]] = []
    for image, *labels in rows:
        if len(labels) + 1 != len(titles):
            raise ValueError(f"sheet: a row has {len(labels) + 1} parts for {len(titles)} titles")
        parts = [np.asarray(image), *map(index_to_rgb, labels)]
        sizes = {part.shape[:2] for part in parts}
        if len(sizes) > 1:
            raise ValueError(f"sheet: image and masks of a row differ in size: {sizes}")
        lines.append([_scaled(part, height, soft=part is parts[0]) for part in parts])
        masks += labels
    if not lines:
        raise ValueError("sheet: expected at least one row of an image and its masks")

    font = ImageFont.load_default(_TEXT)
    widths = [  # a title may reach into the gaps beside its column
        max(round(font.getlength(title)) - _GAP // 2, *(line[column].width for line in lines))
        for column, title in enumerate(titles)
    ]
    # Where each column and row begins, and where the next one would.
    *lefts, right = itertools.accumulate((width + _GAP for width in widths), initial=_GAP)
    *tops, bottom = itertools.accumulate((line[0].height + _GAP for line in lines), initial=_TOP)
    picture = Image.new("RGB", (right, bottom - _GAP), _PAPER)
    draw = ImageDraw.Draw(picture)
    for title, left, width in zip(titles, lefts, widths, strict=True):
        draw.text((left + width / 2, _GAP), title, _INK, font, anchor="ma")
    for line, top in zip(lines, tops, strict=True):
        for part, left in zip(line, lefts, strict=True):
            picture.paste(part, (left, top))
    return _with_legend(picture, masks, classes)


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
    for name, label in SCORES.items():
        width = 2.4 if name == "mean_iu" else 1.2
        right.plot(epochs, [row[name] for row in rows], line, label=label, linewidth=width)
    right.set(title="scores on the validation set", xlabel="epoch", ylim=(0, 1))
    right.legend(loc="lower right", frameon=False)
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


def _with_legend(
    picture: Image.Image, masks: Iterable[NDArray[Any]], classes: Sequence[str]
) -> Image.Image:
    """The picture over colour and name of each class in the masks, in as many lines as it takes."""
    found = sorted({int(label) for mask in masks for label in np.unique(mask)})
    names = {**dict(enumerate(classes)), VOID: "void"}
    font = ImageFont.load_default(_TEXT)
    texts = [names.get(label, str(label)) for label in found]
    spaces = [_TEXT + 5 + round(font.getlength(text)) for text in texts]
    width = max(picture.width, *(space + 2 * _GAP for space in spaces), 1)
    x, y = _GAP, picture.height + _GAP
    below = (0, 0, width - picture.width, _GAP + len(found) * (_TEXT + _GAP))
    picture = ImageOps.expand(picture, below, _PAPER)
    draw = ImageDraw.Draw(picture)
    for label, text, space in zip(found, texts, spaces, strict=True):
        if x > _GAP and x + space + _GAP > width:
            x, y = _GAP, y + _TEXT + _GAP
        colour = tuple(VOC_PALETTE[label].tolist())
        draw.rectangle((x, y, x + _TEXT - 1, y + _TEXT - 1), fill=colour, outline=_FRAME)
        draw.text((x + _TEXT + 5, y + _TEXT / 2), text, _INK, font, anchor="lm")
        x += space + 2 * _GAP
    return picture.crop((0, 0, width, y + _TEXT + _GAP if found else y - _GAP))


def _scaled(pixels: NDArray[np.uint8], height: int | None, soft: bool) -> Image.Image:
    """The pixels as a picture of the given height; colours of a mask are never mixed."""
    picture = Image.fromarray(np.ascontiguousarray(pixels, np.uint8))
    height = picture.height if height is None else height
    size = (max(1, round(picture.width * height / picture.height)), height)
    method = Image.Resampling.BILINEAR if soft else Image.Resampling.NEAREST
    return picture.resize(size, method)
