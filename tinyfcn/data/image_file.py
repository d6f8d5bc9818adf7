"""Opens image files that anybody may have made: a few formats, of bounded size, and none in part.

What Pillow would drop without a word is kept, as a fourth band and the lower byte of a sample, or
refused with what was found, as all pages but the first.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, TiffImagePlugin

from tinyfcn.backend.setting import whole_number

# How a file begins, and Pillow's reader for it. Other readers start programs (EPS), or are little
# used and little tried.
READERS = {
    b"\xff\xd8\xff": "Jpeg", b"\x89PNG\r\n\x1a\n": "Png", b"BM": "Bmp", b"II": "Tiff",
    b"MM": "Tiff", b"RIFF": "WebP", b"GIF8": "Gif",
}  # fmt: skip
MOST_PIXELS = 50_000_000
MOST_SCANNED = 1 << 32  # pixels of all scans of a progressive JPEG
MOST_TILES = 100_000
# Of EXIF orientations 2 to 8, what turns the image upright.
_UPRIGHT = [Image.Transpose(number) for number in (0, 3, 1, 5, 4, 6, 2)]
# Of the names that Pillow has for how 16 bits lie, which makes it take the other byte.
_OTHER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


Loaded = tuple[Image.Image | NDArray[np.uint16], str]


class Refused(ValueError):
    """An image that may be whole, but is not read; says why, and what to do."""


def load(file: BinaryIO, upright: bool) -> Loaded:
    """The image in a file, loaded, and how its samples are coded, in Pillow's words: "RGB", "L;2".

    Of several of 16 bits a pixel Pillow takes the upper bytes; these come as an array (H, W, C).

    Args:
        file: at its beginning.
        upright: turn the image as its EXIF orientation says. Without it, an orientation that a mask
            of the same size may or may not follow is refused. Damaged EXIF says nothing.

    Raises:
        Refused: if it is too large, or could be read in part only.
        Exception: of many kinds, whatever Pillow makes of a damaged file.
    """
    start = file.read(30)
    name = next((name for begin, name in READERS.items() if start.startswith(begin)), None)
    if name is None:
        raise ValueError("expected JPEG, PNG, BMP, TIFF, WebP or GIF")
    if name == "WebP":  # whose reader takes the memory at once
        check_pixels(*_webp_size(start))
    plugin = importlib.import_module(f"PIL.{name}ImagePlugin")
    form: Any = _Tiff if name == "Tiff" else getattr(plugin, f"{name}ImageFile")
    file.seek(0)
    image: ImageFile.ImageFile = form(file)
    tags = getattr(image, "tag_v2", {})  # of TIFF, where a tile may be larger than the image
    check_pixels(tags.get(322, 0), tags.get(323, 0))
    check_pixels(image.width, image.height)
    scans = file.read().count(b"\xff\xda") if image.info.get("progressive") else 1
    if scans * image.width * image.height > MOST_SCANNED or len(image.tile) > MOST_TILES:
        raise Refused("expected an image of a few scans, strips or tiles, got absurdly many")
    arguments: Any = image.tile[0][3] if image.tile else ""  # known until the file is loaded
    coding = str(arguments if isinstance(arguments, str) else arguments[0])
    bits = 16 if name == "Png" and ";16" in coding else max(tags.get(258, (8,)))
    deep = bits > 8 and not image.mode.startswith(("I", "F"))
    if deep and (";16" not in coding or coding.startswith("LA")):
        raise Refused(f"expected 8 bits a channel, got {bits}; scale it to 0..255 first")
    if getattr(image, "is_animated", False):
        raise Refused("expected one image, got several pages or frames; save the one that counts")
    turn = tags.get(274, 1)  # Pillow turns a TIFF itself
    image.load()
    images: list[Any] = [image]
    if deep:
        file.seek(0)
        images.append(form(file))
        images[1].tile = [*map(_other_byte, images[1].tile)]
        images[1].load()
    with contextlib.suppress(Exception):
        turn = turn if tags else image.getexif().get(ExifTags.Base.Orientation, 1)
    if turn in range(2, 9):
        if not upright and (tags or turn < 5 or image.width == image.height):
            raise Refused(
                f"its EXIF orientation, {turn}, turns or mirrors it, and nothing says whether its "
                "mask follows: if it does, store the image upright, else without the orientation"
            )
        if upright and not tags:
            images = [one.transpose(_UPRIGHT[turn - 2]) for one in images]
    if deep:
        return np.stack([images[1], images[0]], axis=-1).view("<u2")[..., 0], coding
    return images[0], coding


class _Tiff(TiffImagePlugin.TiffImageFile):
    """A TIFF whose bands are all decoded: Pillow knows few ways to say what they are, drops those
    that are not alpha, and divides the others by alpha of another kind."""

    def _setup(self) -> None:
        tags, bands = self.tag_v2, self.tag_v2.get(277, 1)
        if bands > 4:
            raise Refused(f"expected 4 bands a pixel at most, got {bands}; save those that count")
        deep, packed = max(tags.get(258, (8,))) > 8, tags.get(259, 1) != 1
        if tags.get(284) == 2 and bands > 1 and (deep or (packed and bands != 3)):
            raise Refused("expected the bands of a pixel side by side, got planes; save it so")
        if tags.get(262) == 1 and bands > 2:
            tags[262] = 2  # RGB, not grey
            tags.pop(338, None)
        if tags.get(262) in (1, 2) and bands in (2, 4):
            tags[338] = (2,)  # alpha
        super()._setup()


def _other_byte(tile: Any) -> Any:
    """What Pillow is told of a part of an image, for the other byte of 16 bits."""
    codec, place, offset, how = tile
    coding, *more = [how] if isinstance(how, str) else how
    coding = coding[:-1] + _OTHER[coding[-1]]
    how = (coding, *more) if more else coding
    return getattr(tile, "_make", tuple)((codec, place, offset, how))


def check_pixels(width: int, height: int) -> None:
    """Refused, if an image of this size has more pixels than are read."""
    most = whole_number("TINYFCN_MAX_PIXELS", MOST_PIXELS, most=1 << 31)
    if width * height > most:
        raise Refused(
            f"{width * height:,} pixels ({width} x {height}), more than the {most:,} that are "
            "read; the environment variable TINYFCN_MAX_PIXELS sets another bound"
        )
    if most > MOST_PIXELS and Image.MAX_IMAGE_PIXELS:  # the same bound for Pillow's own checks
        Image.MAX_IMAGE_PIXELS = max(most, Image.MAX_IMAGE_PIXELS)


def _webp_size(start: bytes) -> tuple[int, int]:
    """Width and height, as the header of each of the three kinds of WebP has them."""
    numbers = int.from_bytes(start[20:30], "little")
    if start[12:16] == b"VP8X":
        return (numbers >> 32 & 0xFFFFFF) + 1, (numbers >> 56) + 1
    if start[12:16] == b"VP8L":
        return (numbers >> 8 & 0x3FFF) + 1, (numbers >> 22 & 0x3FFF) + 1
    return numbers >> 48 & 0x3FFF, numbers >> 64 & 0x3FFF
