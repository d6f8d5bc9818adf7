"""Draws what annotation tools store of objects: outlines, and COCO's runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_CROSSINGS = 1 << 27  # of edges and rows of pixels, if each crossed all


def fill(mask: NDArray[np.uint8], kind: str, points: Any, label: int) -> None:
    """Give the pixels of a mask (H, W) whose centres lie inside of an outline a label.

    Args:
        kind: polygon, of its corners; rectangle, of two of them; circle, of its centre and a point
            on it; runs, which are no outline but what :func:`decode_runs` takes.
        points: x and y of each, (points, 2) or flat; pixel (row, column) reaches from (column, row)
            to (column + 1, row + 1). Where the outline crosses itself, what is within an odd number
            of its loops is inside.

    Raises ValueError or IndexError if they are none.

    >>> mask = np.zeros((3, 4), np.uint8)
    >>> fill(mask, "polygon", [[1, 0], [3.4, 0], [3.4, 2], [1, 2]], 7)
    >>> mask.tolist()
    [[0, 7, 7, 0], [0, 7, 7, 0], [0, 0, 0, 0]]
    """
    if kind == "runs":
        mask[decode_runs(points, *mask.shape)] = label
        return
    corners = np.asarray(points, float).reshape(-1, 2)
    if not (abs(corners) < 1e7).all():
        raise ValueError("a corner is far from any image")
    if kind == "rectangle":
        (x0, y0), (x1, y1) = corners
        corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    elif kind == "circle":
        angles = np.linspace(0, 2 * np.pi, 120, endpoint=False)
        radius = np.linalg.norm(corners[1] - corners[0])
        corners = corners[0] + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    elif kind != "polygon":
        raise ValueError(f"a {kind} is not drawn; make it a polygon, rectangle or circle")
    if len(corners) < 3:
        raise ValueError(f"expected at least 3 corners, got {len(corners)}")
    left, top = np.clip(corners.min(axis=0), 0, mask.shape[::-1]).astype(int)
    right, bottom = np.ceil(np.clip(corners.max(axis=0), 0, mask.shape[::-1])).astype(int)
    part = mask[top:bottom, left:right]
    if len(corners) * len(part) > MOST_CROSSINGS:
        raise ValueError(f"an outline has {len(corners)} corners on {len(part)} rows of pixels")
    corners = corners - (left, top)
    (x0, y0), (x1, y1) = corners.T, np.roll(corners, -1, axis=0).T
    centres = np.arange(len(part))[:, None] + 0.5
    row, edge = np.nonzero((y0 <= centres) != (y1 <= centres))
    x = x0[edge] + (row + 0.5 - y0[edge]) * (x1 - x0)[edge] / (y1 - y0)[edge]
    column = np.clip(np.ceil(x - 0.5), 0, part.shape[1]).astype(int)  # the first behind the edge
    crossed = np.zeros((len(part), part.shape[1] + 1), bool)
    np.logical_xor.at(crossed, (row, column), True)
    part[np.logical_xor.accumulate(crossed, axis=1)[:, :-1]] = label


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
