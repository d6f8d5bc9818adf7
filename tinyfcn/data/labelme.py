"""Reads what labelme saves: an image and, of the same name, a JSON file with outlines."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinyfcn.data.class_files import read_class_file
from tinyfcn.data.conventions import DataError
from tinyfcn.data.dataset import SegmentationDataset, names_of
from tinyfcn.data.lists import ids_of
from tinyfcn.data.outlines import fill, read_json, size_of
from tinyfcn.data.pairing import find_pairs
from tinyfcn.data.palette import VOID

__all__ = ["LabelmeSegmentation"]


class LabelmeSegmentation(SegmentationDataset):
    """Images with a JSON file of labelme (Wada) each; those without one are left out.

    Shapes are drawn in their order, later ones over those before. Pixels in none are background,
    those in shapes called ``__ignore__`` void. Polygons, rectangles and circles have an area; other
    kinds are refused where they are read.

    Args:
        root: the folder with images and JSON files, beside each other or in two folders.
        split: name of a list or a folder, as for :class:`FolderSegmentation`; default all.
        classes: class names, background first; default those of a class file in ``root``, as
            ``labels.txt``, else background and all labels in the files, sorted.

    Raises FileNotFoundError for a missing folder, list, or image, DataError for a file that is no
    JSON of labelme.
    """

    def __init__(
        self,
        root: str | PathLike[str],
        split: str | None = None,
        classes: Sequence[str] | None = None,
    ):
        self.root = Path(root)
        images, files = find_pairs(self.root, mask_suffixes=(".json",))
        for name, path in files.items():
            if name not in images and "shapes" in read_json(path):
                raise FileNotFoundError(f"{path}: there is no image {name} in {root}")
        annotated = {name: path for name, path in images.items() if name in files}
        ids, source = ids_of(self.root, split, annotated, files)
        names = names_of(classes or read_class_file(self.root)[0] or ())
        if not names:
            labels = {label for path in files.values() for label, _ in _drawing(path)[1]}
            names = ("background", *sorted(labels - {"__ignore__", "background"}))
        super().__init__(ids, annotated, files, names, source=source)

    def read_mask(self, path: Path) -> NDArray[np.uint8]:
        """The shapes in a JSON file, drawn as indices, uint8 (H, W)."""
        size, shapes = _drawing(path)
        mask = np.zeros(size, np.uint8)
        for label, corners in shapes:
            if label not in (*self.classes, "__ignore__"):
                known = ", ".join(self.classes)
                raise DataError(f"{path}: label {label!r} is none of the classes {known}")
            index = VOID if label == "__ignore__" else self.classes.index(label)
            try:
                fill(mask, corners, index)
            except ValueError as error:
                raise DataError(f"{path}: {label}: {error}") from error
        return mask


def _drawing(path: Path) -> tuple[tuple[int, int], list[tuple[str, NDArray[np.float64]]]]:
    """Height and width, and the label and the corners of each shape."""
    content = read_json(path)
    try:
        shapes = [
            (
                "background" if shape["label"] == "_background_" else str(shape["label"]),
                _corners(shape["shape_type"], np.array(shape["points"], float).reshape(-1, 2)),
            )
            for shape in content["shapes"]
        ]
        return size_of(content["imageHeight"], content["imageWidth"]), shapes
    except (LookupError, OverflowError, TypeError, ValueError) as error:
        raise DataError(f"{path}: expected a file of labelme ({error!r})") from error


def _corners(kind: str, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The outline of a shape, as its corners."""
    if not (abs(points) < 1e7).all():
        raise ValueError("a shape is far from any image")
    if kind == "rectangle":
        (x0, y0), (x1, y1) = points
        return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    if kind == "circle":  # its centre, and a point on it
        angles = np.linspace(0, 2 * np.pi, 120, endpoint=False)
        radius = np.linalg.norm(points[1] - points[0])
        return points[0] + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    if kind != "polygon":
        raise ValueError(f"a {kind} has no area; draw a polygon, rectangle or circle")
    return points
