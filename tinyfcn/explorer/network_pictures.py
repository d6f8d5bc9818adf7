"""Maps as pictures, PNG as text that a page shows: blue is below 0, orange above, clear is 0."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import tinyfcn
import tinyfcn.functional as F

Array = NDArray[Any]
LEVELS = 31  # of blue and of orange each
LINE = 2 * LEVELS + 1  # the level of the lines between maps
TILE = 64  # pixels of a small map's side, at most
SHEET = 128  # and of those of a layer together
ENDS = (34, 126, 214), (226, 118, 22)


def _palette() -> tuple[bytes, bytes]:
    """Colours and their opacity by level."""
    share = np.abs(np.arange(LINE) - LEVELS) / LEVELS
    colours = np.repeat(ENDS, (LEVELS, LEVELS + 1), 0)
    line = np.array([128, 128, 128])
    opacity = [*np.rint(255 * share**0.8), 90]
    return bytes(np.vstack([colours, line]).astype(np.uint8)), bytes(map(int, opacity))


PALETTE, OPACITY = _palette()


def png(picture: Image.Image | Array) -> str:
    """A picture as an address that holds it."""
    if not isinstance(picture, Image.Image):
        picture = Image.fromarray(picture)
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=4)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def signed(values: Array, most: float) -> str:
    """A map (H, W) in colours, which are full at ±most."""
    return _levels(_level(values, most))


def shown(values: Array, most: float) -> dict[str, Any]:
    """The same, with the shape and the range of the numbers."""
    return {"png": signed(values, most), "shape": values.shape, "range": span(values)}


def sheet(maps: Array, most: float) -> dict[str, Any]:
    """All maps (C, H, W) of a layer side by side, small, and how they lie there."""
    channels, height, width = maps.shape
    columns = int(np.ceil(channels**0.5))
    rows = -(-channels // columns)
    most_pixels = min(TILE, max(4, SHEET // columns))
    h, w = (min(n, most_pixels) for n in (height, width))
    small = maps
    if (h, w) != (height, width):
        small = F.adaptive_avg_pool2d(tinyfcn.tensor(maps[None]), (h, w)).numpy()[0]
    tiles = np.full((rows * columns, h + 1, w + 1), LINE, np.uint8)
    tiles[:channels, :h, :w] = _level(small, most)
    whole = tiles.reshape(rows, columns, h + 1, w + 1).transpose(0, 2, 1, 3)
    whole = whole.reshape(rows * (h + 1), columns * (w + 1))[:-1, :-1]
    return {"png": _levels(whole), "columns": columns, "rows": rows, "width": whole.shape[1],
            "height": whole.shape[0], "shape": maps.shape, "range": span(maps)}  # fmt: skip


def scale(values: Array) -> float:
    """At which number a colour is full: two of a thousand are larger, which would leave the others
    pale."""
    return float(np.quantile(np.abs(values), 0.998)) or float(np.abs(values).max()) or 1.0


def span(values: Array) -> list[float]:
    """The least and the largest number."""
    return [float(f"{v:.4g}") for v in (values.min(), values.max())]


def packed(values: Array) -> str:
    """Numbers as the bytes of float32, little-endian, in base64."""
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


def _level(values: Array, most: float) -> Array:
    level = np.rint(LEVELS * np.clip(values / most, -1, 1)) + LEVELS
    return level.astype(np.uint8)


def _levels(levels: Array) -> str:
    picture = Image.fromarray(np.ascontiguousarray(levels))
    picture.putpalette(PALETTE)
    picture.info["transparency"] = OPACITY
    return png(picture)
