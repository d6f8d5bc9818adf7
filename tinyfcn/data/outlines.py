"""Draws what annotation tools store as outlines and runs, and reads their JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinyfcn.data.conventions import DataError
from tinyfcn.data.image_file import check_pixels
from tinyfcn.files import open_regular

Area = dict[str, Any] | Sequence[ArrayLike]  # runs, or the corners of outlines
MOST_CROSSINGS = 1 << 23  # of an outline and rows of pixels


def read_json(path: Path) -> Any:
    """What is in a JSON file; DataError if it is none."""
    try:
        with open_regular(path) as file:
            return json.loads(file.read().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected a JSON file ({error})") from error


def size_of(height: Any, width: Any) -> tuple[int, int]:
    """Both as integers; ValueError if no image of that size is read."""
    size = int(height), int(width)
    check_pixels(*size)
    if min(size) < 1:
        raise ValueError(f"an image of {height} x {width} pixels")
    return size


def outline(kind: str, points: ArrayLike) -> NDArray[np.float64]:
    """The corners, (N, 2), of a shape that labelme knows: polygon, rectangle or circle.

    >>> outline("rectangle", [[1, 2], [5, 4]]).tolist()
    [[1.0, 2.0], [5.0, 2.0], [5.0, 4.0], [1.0, 4.0]]
    """
    corners = _corners(points)
    if kind == "rectangle":
        (x0, y0), (x1, y1) = corners
        return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    if kind == "circle":  # its centre, and a point on it
        angles = np.linspace(0, 2 * np.pi, 120, endpoint=False)
        radius = np.linalg.norm(corners[1] - corners[0])
        return corners[0] + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    if kind != "polygon":
        raise ValueError(f"a {kind} is not drawn; make it a polygon, rectangle or circle")
    return corners


def draw(mask: NDArray[np.uint8], area: Area, label: int) -> None:
    """Give the pixels of a mask (H, W) in outlines, or in COCO's runs, a label."""
    if isinstance(area, dict):
        mask[decode_runs(area["counts"], *mask.shape)] = label
    else:
        for corners in area:
            fill(mask, corners, label)


def fill(mask: NDArray[np.uint8], points: ArrayLike, label: int) -> None:
    """Give the pixels of a mask (H, W) whose centres lie inside of an outline a label.

    Args:
        points: x and y of each corner, (corners, 2) or flat; pixel (row, column) reaches from
            (column, row) to (column + 1, row + 1). Where the outline crosses itself, what is within
            an odd number of its loops is inside.

    Raises ValueError if they are none.

    >>> mask = np.zeros((3, 4), np.uint8)
    >>> fill(mask, [[1, 0], [3.4, 0], [3.4, 2], [1, 2]], 7)
    >>> mask.tolist()
    [[0, 7, 7, 0], [0, 7, 7, 0], [0, 0, 0, 0]]
    """
    corners = _corners(points)
    if len(corners) < 3:
        raise ValueError(f"expected at least 3 corners, got {len(corners)}")
    (x0, y0), (x1, y1) = corners.T, np.roll(corners, -1, axis=0).T
    first, last = (
        np.clip(np.ceil(y - 0.5), 0, len(mask)).astype(int)
        for y in (np.minimum(y0, y1), np.maximum(y0, y1))
    )
    counts = last - first  # of rows whose centres an edge crosses
    if counts.sum() > MOST_CROSSINGS:
        raise ValueError(f"an outline crosses rows of pixels {counts.sum()} times")
    if not counts.any():
        return
    edge = np.repeat(np.arange(len(counts)), counts)
    row = np.arange(len(edge)) + np.repeat(first + counts - np.cumsum(counts), counts)
    x = x0[edge] + (row + 0.5 - y0[edge]) * (x1 - x0)[edge] / (y1 - y0)[edge]
    column = np.clip(np.ceil(x - 0.5), 0, mask.shape[1]).astype(int)  # the first behind the edge
    top, left = row.min(), column.min()
    crossed = np.zeros((row.max() - top + 1, column.max() - left + 1), bool)
    np.logical_xor.at(crossed, (row - top, column - left), True)
    inside = np.logical_xor.accumulate(crossed, axis=1)[:, :-1]
    mask[top : row.max() + 1, left : column.max()][inside] = label


def _corners(points: ArrayLike) -> NDArray[np.float64]:
    corners = np.asarray(points, float).reshape(-1, 2)
    if not (abs(corners) < 1e7).all():
        raise ValueError("a corner is far from any image")
    return corners


def decode_runs(counts: str | Sequence[int], height: int, width: int) -> NDArray[np.bool_]:
    """COCO's run-length encoding: runs of 0 and 1 in turn, down the columns, as bool (H, W).

    A text has them as ``maskApi.c`` of pycocotools writes them: 5 bits a character, 32 if more
    follow, signed, from the third run on as the difference to the one before the last. Reading them
    takes fewer lines here than calling pycocotools would, and no compiler.

    Raises ValueError if they are none, or of another size.

    >>> decode_runs([1, 2, 3], 2, 3).astype(int).tolist()
    [[0, 1, 0], [1, 0, 0]]
    """
    if isinstance(counts, str):
        runs: list[int] = []
        value = shift = 0
        for code in counts.encode():
            value |= (code - 48 & 31) << shift
            shift += 5
            if not code - 48 & 32:
                value |= -1 << shift if code - 48 & 16 else 0
                runs.append(value + (runs[-2] if len(runs) > 2 else 0))
                value = shift = 0
            if shift > 60:
                raise ValueError("a run is absurdly long")
        counts = runs
    lengths = np.asarray(counts, np.int64)
    if lengths.ndim != 1 or (lengths < 0).any() or lengths.sum() != height * width:
        raise ValueError(f"expected runs of {height} x {width} pixels in all, got {lengths.sum()}")
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return flat.reshape(width, height).T
