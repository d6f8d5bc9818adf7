"""Reads and writes images and masks; the conventions for both, and the one checker of them.

- An image is uint8 (H, W, 3), RGB, 0..255; or of other channels, where that is said. One whose
  values have another range, which must be said, is float32 of 0..255, so that no depth is lost.
- Its mask is uint8 (H, W), each pixel a class index in [0, classes) or 255 for void.

Files are read so that these hold. Images of any 8-bit mode become RGB. Masks with a palette
keep their indices: converting them to RGB would turn class 1 into the colour (128, 0, 0). Masks
coded in RGB are mapped back through the palette if every colour is in it, else rejected. Void
stays 255 from the file to the metric.

A mask belongs to the pixels as they are stored, or, where an annotation tool turned a photo upright
first, to those that its EXIF orientation gives: that of the two which has the mask's size is read.
Where both have, the photo is rejected.
"""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tinyfcn.backend.setting import SettingError
from tinyfcn.data import image_file
from tinyfcn.data.palette import VOC_PALETTE, VOID, rgb_to_index
from tinyfcn.files import AnyPath, open_regular

__all__ = ["DataError", "NoClassNames", "check_sample", "read_image", "read_mask", "write_mask"]

# Pillow modes that are read, and what they are turned into. Transparent colours of a palette are
# colours.
_MODES: dict[str, Sequence[str]] = {
    **dict.fromkeys(("L", "LA", "RGB", "RGBA", "I", "I;16", "I;16B", "F"), ()),
    "1": ["L"], "P": ["RGBA", "RGB"], "PA": ["RGBA"], "RGBa": ["RGBA"], "CMYK": ["RGB"],
    "YCbCr": ["RGB"],
}  # fmt: skip
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of ITU-R BT.601

# Pillow stretches grey images of 2 and 4 bits to 0..255; in a mask they are indices.
_STRETCH = {"L;2": 85, "L;4": 17}


class DataError(ValueError):
    """A file or sample that breaks the conventions: names the file, the expected and the found."""


class NoClassNames(DataError):
    """Nothing says what the classes are called."""


def read_image(
    picture: AnyPath | Image.Image | NDArray[Any],
    upright: bool = False,
    channels: int = 3,
    range: Sequence[float] = (),
) -> NDArray[Any]:
    """Read an image as (H, W, channels): uint8 RGB, if nothing else is asked for.

    Grey, palette and CMYK files become RGB, or with ``channels=1`` grey, as colours do. Alpha that
    is not opaque everywhere is rejected, unless it makes up the number of channels; the transparent
    colours of a palette are read as colours.

    Args:
        picture: a file; or an image of Pillow, or an array (H, W) or (H, W, C).
        upright: turn a photo as its EXIF orientation says, which is right for looking at one and
            wrong for an image that has a mask.
        channels: of the image. Others than 1 and 3 are those in the file, as they are.
        range: the values that become 0 and 255, in float32; what lies beyond is cut off. Images of
            more than 8 bits a channel are read with it alone, and those of 8 bits not if it is
            larger.

    Raises FileNotFoundError, or DataError if the file is damaged, larger than
    ``TINYFCN_MAX_PIXELS``, of another format (``image_file.py``), or holds something else.
    """
    name = "the picture"
    if isinstance(picture, str | os.PathLike):
        name, (picture, _) = str(picture), _loaded(picture, "an image", upright)
    elif isinstance(picture, Image.Image) and upright:
        picture = ImageOps.exif_transpose(picture)
    values = _values(picture, name) if isinstance(picture, Image.Image) else np.asarray(picture)
    if values.ndim not in (2, 3) or not values.size or values.dtype.kind not in "uif":
        raise DataError(
            f"{name}: expected a file, a Pillow image, or an array (H, W, {channels}) or (H, W) of "
            f"numbers, got {values.dtype} {values.shape}"
        )
    values = np.atleast_3d(values)
    bands = values.shape[2]
    alpha = bands in (2, 4) and values.dtype.kind == "u" and channels in (1, 3)
    if alpha and values[..., -1].min() == np.iinfo(values.dtype).max:
        values = values[..., :-1]
    if values.shape[2] == 3 and channels == 1:
        values = np.rint((values @ LUMA)[..., None]).astype(values.dtype)
    elif values.shape[2] == 1 and channels == 3:
        values = values.repeat(3, axis=2)
    if values.shape[2] != channels:
        wrong = f"an image of {channels} channels, got {bands}; convert it"
        if alpha:
            wrong = "an opaque image, got alpha or another band; lay it on a background"
        raise DataError(f"{name}: expected {wrong}, or train with channels={bands}")
    return values if values.dtype == np.uint8 and not range else _scaled(values, range, name)


def _scaled(values: NDArray[Any], range: Sequence[float], name: str) -> NDArray[np.float32]:
    """The values of a range as 0 to 255."""
    least, most = values.min(), values.max()
    if not range:
        usual = next((limit for limit in (1, 255, 4095, 65535) if most <= limit), most)
        raise DataError(
            f"{name}: expected 8 bits a channel, got values from {least:g} to {most:g}; make them "
            "uint8, 0 to 255, or train with a range for all, such as "
            f"range={min(least, 0):g},{usual:g}"
        )
    low, high = range
    if not np.isfinite(most - least) or (values.dtype == np.uint8 and high > 255):
        raise DataError(
            f"{name}: expected values from {low:g} to {high:g}, got {values.dtype} from {least} to "
            f"{most}"
        )
    scaled = values.astype(np.float32)
    scaled -= low
    scaled *= 255 / (high - low)
    return np.clip(scaled, 0, 255, out=scaled)


def as_seen(image: NDArray[Any]) -> NDArray[np.uint8]:
    """An image (H, W, channels) to look at, uint8 RGB: grey, or the first three channels."""
    rgb = image[..., :3] if image.shape[2] > 2 else image[..., :1].repeat(3, axis=2)
    return rgb if rgb.dtype == np.uint8 else np.rint(rgb).astype(np.uint8)


def read_mask(
    path: AnyPath, palette: NDArray[np.uint8] = VOC_PALETTE, greys: bool = False
) -> NDArray[np.uint8]:
    """Read a mask file as class indices, uint8 (H, W).

    Palette and grey files hold indices; RGB files, and GIFs with a palette, are mapped through
    ``palette``, uint8 (colours, 3), but for those of greys alone that it lacks: these are read as
    grey files, and so are all of greys alone where ``greys`` is true. Raises FileNotFoundError, or
    DataError if the file is damaged, lossy (JPEG changes indices), of another mode, or has a colour
    that the palette lacks.
    """
    image, coding = _loaded(path, "a mask", upright=False)
    if not isinstance(image, Image.Image):
        raise DataError(f"{path}: expected a mask of 8 bits a channel, got 16; save it so")
    if image.format == "JPEG" or image.info.get("compression") in ("jpeg", "tiff_jpeg", "webp"):
        raise DataError(
            f"{path}: expected a PNG mask, got a JPEG, which changes labels; export masks anew as "
            "PNG"
        )
    if image.mode in ("RGBA", "LA", "PA") and image.getchannel("A").getextrema()[0] == 255:
        image = image.convert("RGB") if image.mode == "RGBA" else image.getchannel(0)
    if (image.format, image.mode) == ("GIF", "P"):  # whose writers number the colours anew
        image = image.convert("RGB")
    mode, values = image.mode, np.array(image)
    if mode == "RGB":
        grey = not np.ptp(values, axis=2).any()
        try:
            return values[..., 0].copy() if grey and greys else rgb_to_index(values, palette)
        except ValueError as error:
            if grey:
                return values[..., 0].copy()
            unknown = str(error).removeprefix("rgb_to_index: ")
            raise DataError(
                f"{path}: {unknown}; a labelmap.txt beside images and masks names other colours, "
                "a class a line: NAME:R,G,B::"
            ) from error
    if mode in ("P", "L", "1"):
        return values.astype(np.uint8) // np.uint8(_STRETCH.get(coding, 1))
    if mode.startswith("I") and np.isin(values, (0, 65535)).all():  # black and white
        return np.where(values > 0, VOID, 0).astype(np.uint8)
    if mode.startswith("I") and values.min() >= 0 and values.max() <= 255:
        return values.astype(np.uint8)
    found = f"values from {values.min()} to {values.max()}; save ids of classes, not of objects,"
    if mode.endswith("A"):
        found = "transparent pixels; save it without them"
    raise DataError(
        f"{path}: expected a mask of indices from 0 to 255 (Pillow mode P or L) or palette colours "
        f"(RGB), got mode {mode!r} with {found} as one of these"
    )


def write_mask(
    path: AnyPath | BinaryIO,
    mask: NDArray[np.integer],
    palette: NDArray[np.uint8] = VOC_PALETTE,
    **options: object,
) -> None:
    """Write class indices (H, W) as a palette PNG, which :func:`read_mask` reads back unchanged.

    ``path`` may be an open binary file too; ``options`` are those of Pillow's PNG writer.
    """
    mask = np.asarray(mask)
    if mask.ndim != 2 or (mask.size and not 0 <= mask.min() <= mask.max() <= 255):
        raise ValueError(f"write_mask: mask must be (H, W) with values in 0..255, got {mask.shape}")
    image = Image.fromarray(mask.astype(np.uint8))
    image.putpalette(palette.tobytes())
    image.save(path, format="PNG", **options)


def check_sample(
    image: NDArray[Any],
    mask: NDArray[np.uint8],
    num_classes: int,
    image_name: AnyPath = "image",
    mask_name: AnyPath = "mask",
) -> None:
    """Raise DataError unless image and mask keep the conventions at the top of this module.

    >>> check_sample(np.zeros((4, 5, 3), np.uint8), np.full((4, 5), 7, np.uint8), num_classes=3)
    Traceback (most recent call last):
    ...
    tinyfcn.data.conventions.DataError: mask: labels must be in [0, 3) or 255 (void), got 7 \
(first at row 0, column 0)
    """
    if image.dtype not in (np.uint8, np.float32) or image.ndim != 3:
        raise DataError(
            f"{image_name}: expected an image, uint8 or float32 (H, W, channels), got "
            f"{image.dtype} {image.shape}"
        )
    if mask.dtype != np.uint8 or mask.ndim != 2:
        raise DataError(
            f"{mask_name}: expected a mask, uint8 (H, W), got {mask.dtype} {mask.shape}"
        )
    if image.shape[:2] != mask.shape:
        size, got = ("{} high by {} wide".format(*shape) for shape in (image.shape, mask.shape))
        hint = "; turned by 90 degrees they agree, as where an EXIF orientation was lost: turn one"
        raise DataError(
            f"{mask_name}: expected the size of {image_name}, {size}, got {got}"
            f"{hint if image.shape[1::-1] == mask.shape else ''}"
        )
    wrong = (mask >= num_classes) & (mask != VOID)
    if wrong.any():
        labels = ", ".join(str(label) for label in np.unique(mask[wrong]))
        row, column = np.unravel_index(wrong.argmax(), wrong.shape)
        raise DataError(
            f"{mask_name}: labels must be in [0, {num_classes}) or {VOID} (void), got {labels} "
            f"(first at row {row}, column {column})"
        )


def borders(mask: NDArray[np.integer]) -> NDArray[np.bool_]:
    """The pixels beside one of another label: lines two pixels wide, (H, W).

    >>> borders(np.array([[0, 0, 0, 7, 7]])).astype(int)
    array([[0, 0, 1, 1, 0]])
    """
    rows = np.diff(mask, axis=0, prepend=mask[:1], append=mask[-1:]) != 0
    columns = np.diff(mask, axis=1, prepend=mask[:, :1], append=mask[:, -1:]) != 0
    return rows[:-1] | rows[1:] | columns[:, :-1] | columns[:, 1:]


def counted(mask: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The pixels of each value, (256,), in little memory: NumPy's bincount takes eight bytes a
    pixel.

    >>> counted(np.array([[0, 0, 255]], np.uint8))[[0, 1, 255]].tolist()
    [2, 0, 1]
    """
    return np.array(Image.fromarray(mask).histogram())


def check_classes(classes: tuple[str, ...], source: AnyPath = "classes") -> None:
    """Raise DataError unless there are 1 to 255 class names, none of them empty or twice there."""
    if not 1 <= len(classes) <= VOID:
        raise DataError(f"{source}: expected 1 to {VOID} class names, got {len(classes)}")
    if len(set(classes)) < len(classes) or not all(classes):
        raise DataError(f"{source}: class names must be distinct and not empty, got {classes}")


def _loaded(path: AnyPath, what: str, upright: bool) -> image_file.Loaded:
    """As :func:`image_file.load`; says whatever is wrong with the file."""
    try:
        with open_regular(path) as file:
            if str(path).endswith(".json"):  # labelme's, with the image inside
                file = io.BytesIO(base64.b64decode(json.load(file)["imageData"]))
            return image_file.load(file, upright)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such file; {what} should lie there") from None
    except image_file.Refused as error:
        raise DataError(f"{path}: {error}") from None
    except (MemoryError, SettingError):
        raise
    except Exception as error:  # on damaged files Pillow raises many kinds
        raise DataError(
            f"{path}: damaged, truncated or not {what} at all ({error}); make it anew, or leave "
            "it out"
        ) from error


def _values(image: Image.Image, name: str) -> NDArray[Any]:
    """What an image holds: grey or RGB, perhaps with alpha, or another band."""
    if image.mode not in _MODES:
        raise DataError(f"{name}: expected grey or RGB, got an image of Pillow mode {image.mode!r}")
    for mode in _MODES[image.mode]:
        image = image.convert(mode)
    return np.array(image)
