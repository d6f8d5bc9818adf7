"""Reads and writes images and masks; the conventions for both, and the one checker of them.

- An image is uint8 (H, W, 3), RGB, 0..255.
- Its mask is uint8 (H, W), each pixel a class index in [0, classes) or 255 for void.

Files are read so that these hold. Images of any 8-bit mode become RGB. Masks with a palette
keep their indices: converting them to RGB would turn class 1 into the colour (128, 0, 0). Masks
coded in RGB are mapped back through the palette if every colour is in it, else rejected. Void
stays 255 from the file to the metric.

EXIF orientation is not applied: a mask belongs to the pixels as they are stored. Where an
annotation tool turned a photo upright first, image and mask differ in size and the error says
why; where their sizes would agree either way, the photo is rejected.
"""

from __future__ import annotations

from os import PathLike
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tinyfcn.backend.setting import SettingError
from tinyfcn.data import image_file
from tinyfcn.data.palette import VOC_PALETTE, VOID, rgb_to_index
from tinyfcn.files import open_regular

__all__ = ["DataError", "NoClassNames", "check_sample", "read_image", "read_mask", "write_mask"]

_BYTES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr")  # Pillow modes

# Pillow stretches grey images of 2 and 4 bits to 0..255; in a mask they are indices.
_STRETCH = {"L;2": 85, "L;4": 17}


class DataError(ValueError):
    """A file or sample that breaks the conventions: names the file, the expected and the found."""


class NoClassNames(DataError):
    """Nothing says what the classes are called."""


def read_image(path: str | PathLike[str], upright: bool = False) -> NDArray[np.uint8]:
    """Read an image file as uint8 RGB (H, W, 3).

    Grey, palette and CMYK files are converted. Alpha that is not opaque everywhere is rejected; the
    transparent colours of a palette are read as colours. ``upright=True`` turns a photo as its EXIF
    orientation says, which is right for looking at one and wrong for an image that has a mask.

    Raises FileNotFoundError, or DataError if the file is damaged, larger than
    ``TINYFCN_MAX_PIXELS``, of another format (``image_file.py``), or more than an image of 8 bits.
    """
    return as_rgb(_loaded(path, "an image", upright)[0], path)


def as_rgb(image: Image.Image, name: str | PathLike[str]) -> NDArray[np.uint8]:
    """A Pillow image as uint8 RGB (H, W, 3); DataError where something would be lost."""
    if image.mode not in _BYTES:
        raise DataError(
            f"{name}: expected an image of 8 bits a channel, got Pillow mode "
            f"{image.mode!r}; scale it to 0..255 first"
        )
    if not _is_opaque(image):
        raise DataError(f"{name}: expected an opaque image, got alpha; lay it on a background")
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def read_mask(
    path: str | PathLike[str], palette: NDArray[np.uint8] = VOC_PALETTE, greys: bool = False
) -> NDArray[np.uint8]:
    """Read a mask file as class indices, uint8 (H, W).

    Palette and grey files hold indices; RGB files, and GIFs with a palette, are mapped through
    ``palette``, uint8 (colours, 3), but for those of greys alone that it lacks: these are read as
    grey files, and so are all of greys alone where ``greys`` is true. Raises FileNotFoundError, or
    DataError if the file is damaged, lossy (JPEG changes indices), of another mode, or has a colour
    that the palette lacks.
    """
    image, coding = _loaded(path, "a mask", upright=False)
    if image.format == "JPEG" or image.info.get("compression") in ("jpeg", "tiff_jpeg", "webp"):
        raise DataError(f"{path}: expected a PNG mask, got a JPEG, which changes labels")
    if image.mode in ("RGBA", "LA", "PA") and _is_opaque(image):
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
    if mode.startswith("I") and values.min() >= 0 and values.max() <= 255:
        return values.astype(np.uint8)
    raise DataError(
        f"{path}: expected a mask of indices (Pillow mode P or L) or palette colours (RGB), "
        f"got mode {mode!r} with values from {values.min()} to {values.max()}; save it as one of "
        "these"
    )


def write_mask(
    path: str | PathLike[str] | BinaryIO,
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
    image: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    num_classes: int,
    image_name: str | PathLike[str] = "image",
    mask_name: str | PathLike[str] = "mask",
) -> None:
    """Raise DataError unless image and mask keep the conventions at the top of this module.

    >>> check_sample(np.zeros((4, 5, 3), np.uint8), np.full((4, 5), 7, np.uint8), num_classes=3)
    Traceback (most recent call last):
    ...
    tinyfcn.data.conventions.DataError: mask: labels must be in [0, 3) or 255 (void), got 7 \
(first at row 0, column 0)
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise DataError(
            f"{image_name}: expected an RGB image, uint8 (H, W, 3), got {image.dtype} {image.shape}"
        )
    if mask.dtype != np.uint8 or mask.ndim != 2:
        raise DataError(
            f"{mask_name}: expected a mask, uint8 (H, W), got {mask.dtype} {mask.shape}"
        )
    if image.shape[:2] != mask.shape:
        hint = ""
        if image.shape[1::-1] == mask.shape:
            hint = (
                "; turned by 90 degrees they agree: if the mask follows the image's EXIF "
                "orientation, store the image upright"
            )
        raise DataError(
            f"{mask_name}: expected the size of {image_name}, {_size(image)}, "
            f"got {_size(mask)}{hint}"
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


def check_classes(classes: tuple[str, ...], source: str | PathLike[str] = "classes") -> None:
    """Raise DataError unless there are 1 to 255 class names, none of them empty or twice there."""
    if not 1 <= len(classes) <= VOID:
        raise DataError(f"{source}: expected 1 to {VOID} class names, got {len(classes)}")
    if len(set(classes)) < len(classes) or not all(classes):
        raise DataError(f"{source}: class names must be distinct and not empty, got {classes}")


def _loaded(path: str | PathLike[str], what: str, upright: bool) -> tuple[Image.Image, str]:
    """The image in a file, and how it is coded; says whatever is wrong with the file."""
    try:
        with open_regular(path) as file:
            return image_file.load(file, upright)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such file; {what} should lie there") from None
    except image_file.Refused as error:
        raise DataError(f"{path}: {error}") from None
    except (MemoryError, SettingError):
        raise
    except Exception as error:  # on damaged files Pillow raises many kinds
        raise DataError(f"{path}: damaged, truncated or not {what} at all ({error})") from error


def _is_opaque(image: Image.Image) -> bool:
    alpha = image.getbands()[-1]
    return alpha not in "Aa" or image.getchannel(alpha).getextrema()[0] == 255


def _size(array: NDArray[np.uint8]) -> str:
    return f"{array.shape[0]} high by {array.shape[1]} wide"
