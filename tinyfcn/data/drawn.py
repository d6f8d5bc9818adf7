"""Data sets whose masks are drawn: what the JSON files of labelme and COCO say of their images."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinyfcn.data.class_colours import is_background
from tinyfcn.data.class_files import VOID_NAMES, read_class_file
from tinyfcn.data.conventions import DataError
from tinyfcn.data.dataset import SegmentationDataset, names_of
from tinyfcn.data.lists import find_list, ids_of, split_names
from tinyfcn.data.outlines import Area, draw, outline, read_json, size_of
from tinyfcn.data.pairing import Finder, files_below, find_pairs, two_files
from tinyfcn.data.palette import VOID

__all__ = ["CocoSegmentation", "LabelmeSegmentation"]

_WRONG = (AttributeError, LookupError, OverflowError, TypeError, ValueError)


class Drawing(NamedTuple):
    """What a file says of an image."""

    names: Sequence[str]  # that it may have, seen from the file
    size: tuple[int, int]  # height and width
    shapes: list[tuple[str, Any]]  # their labels, and what :meth:`area` takes


class DrawnSegmentation(SegmentationDataset):
    """Images below a folder, and JSON files that say what to draw on masks of them.

    Pixels in no shape are background, those in one called ``void`` or ``__ignore__`` void. Images
    that no file describes are left out.

    Args:
        root: the folder.
        split: name of a list or a folder, as for :class:`FolderSegmentation`; default all.
        classes: class names, background first; default those of a class file (``class_files.py``)
            in ``root``, else background and the labels in the files.

    Raises FileNotFoundError for a missing folder, list, or image, DataError for a damaged file and
    for labels that are no classes.
    """

    tool = ""
    keys: frozenset[str] = frozenset()  # that its files have
    many = False  # whether one describes many images

    def __init__(
        self,
        root: str | PathLike[str],
        split: str | None = None,
        classes: Sequence[str] | None = None,
    ):
        self.root = Path(root)
        find = Finder(self.root, find_pairs(self.root)[0])
        paths = [*files_below(self.root, (".json",))]
        of_split = []
        if self.many:
            paths = [path for path in paths if path.name.startswith("instances")] or paths
        if self.many and split is not None and find_list(self.root, split) is None:
            wanted = split_names(split)
            of_split = [path for path in paths if not wanted.isdisjoint(_words(path, self.root))]
        self._drawings: dict[str, Drawing] = {}
        described: dict[str, Path] = {}
        order: dict[str, Any] = {}
        for path in of_split or paths:
            content = read_json(path)
            if not (isinstance(content, dict) and self.keys <= content.keys()):
                continue
            try:
                labels, drawings = self.read(content, path)
            except _WRONG as error:
                raise DataError(f"{path}: expected a file of {self.tool} ({error!r})") from error
            order = {**labels, **order}
            for drawing in drawings:
                name = _image(find, drawing.names, path)
                if described.setdefault(name, path) is not path:
                    raise two_files(name, described[name], path)
                self._drawings[name] = drawing
        names = {"background": 0, **dict.fromkeys(sorted(order, key=order.__getitem__))}
        known = names_of(
            classes or read_class_file(self.root)[0] or [n for n in names if n not in VOID_NAMES]
        )
        self._indices = {_plain(name): index for index, name in enumerate(known)}
        self._indices = {"background": 0, **dict.fromkeys(VOID_NAMES, VOID), **self._indices}
        self._check(described, known)
        ids, source = [*described], self.root
        if not of_split:
            images = {name: find.images.get(name, path) for name, path in described.items()}
            lists = sorted({path.name for path in described.values()}) if self.many else []
            ids, source = ids_of(self.root, split, images, {}, lists[1:] and lists)
        super().__init__(ids, find.images, described, known, source=source)

    def _check(self, described: Mapping[str, Path], known: Sequence[str]) -> None:
        drawn = {
            label: path
            for name, path in described.items()
            for label, _ in self._drawings[name].shapes
        }
        if wrong := [f"{n!r} ({path})" for n, path in drawn.items() if n not in self._indices]:
            raise DataError(
                f"{self.root}: labels that are none of the classes {', '.join(known)}: "
                + ", ".join(wrong)
            )
        if known[0] in drawn and not is_background(known[0]):
            raise DataError(
                f"{self.root}: expected background, which is what lies in no shape, as the first "
                f"class, got {', '.join(known)}"
            )

    def read(
        self, content: dict[str, Any], path: Path
    ) -> tuple[Mapping[str, Any], Iterable[Drawing]]:
        """What is in a file: its labels, with what they are sorted by, and what it describes."""
        raise NotImplementedError

    def area(self, shape: Any) -> Area:
        """What a shape covers."""
        return shape

    def values(self, index: int) -> NDArray[np.uint8]:
        """The shapes on an image, drawn as indices one over the other, uint8 (H, W)."""
        drawing = self._drawings[self.ids[index]]
        mask = np.zeros(drawing.size, np.uint8)
        for label, shape in drawing.shapes:
            try:
                draw(mask, self.area(shape), self._indices[label])
            except _WRONG as error:
                raise DataError(
                    f"{self.files[index][1]}: {label} in {self.ids[index]}: expected an outline "
                    f"or runs ({error})"
                ) from error
        return mask


class LabelmeSegmentation(DrawnSegmentation):
    """What labelme (Wada) saves: for each image a JSON file of the same name, or that names it.

    Polygons, rectangles and circles are drawn in their order; other kinds, which have no area, are
    refused.
    """

    tool, keys = "labelme", frozenset({"shapes"})

    def read(
        self, content: dict[str, Any], path: Path
    ) -> tuple[Mapping[str, Any], Iterable[Drawing]]:
        """The image, and its shapes as they stand in the file."""
        shapes = [(_plain(str(shape["label"])), shape) for shape in content["shapes"]]
        size = size_of(content["imageHeight"], content["imageWidth"])
        names = path.stem, str(content.get("imagePath") or path.stem)
        return {label: label for label, _ in shapes}, [Drawing(names, size, shapes)]

    def area(self, shape: Any) -> Area:
        """A polygon."""
        return [outline(shape["shape_type"], shape["points"])]


class CocoSegmentation(DrawnSegmentation):
    """COCO's files (Lin et al., ECCV 2014, cocodataset.org/#format-data), which CVAT, Roboflow and
    Label Studio write too.

    Objects are drawn as their category: crowds first, then the larger before the smaller, so that
    what lies on another stays. Where there is no list, a split may be a word in the paths of files,
    as in ``instances_train2017.json`` and ``train/_annotations.coco.json``. Where some are called
    ``instances_…``, only they are read.
    """

    tool, keys = "COCO", frozenset({"images", "annotations", "categories"})
    many = True

    def read(
        self, content: dict[str, Any], path: Path
    ) -> tuple[Mapping[str, Any], Iterable[Drawing]]:
        """The categories by their ids, and all images."""
        things, categories = content["annotations"], content["categories"]
        things = sorted(things, key=lambda t: (not t.get("iscrowd"), -(t.get("area") or 0)))
        # Roboflow has a category above all others, of which nothing is.
        used = {thing["category_id"] for thing in things}
        parents = {c.get("supercategory") for c in categories if c.get("supercategory") != "none"}
        names = {
            c["id"]: _plain(str(c["name"]))
            for c in categories
            if c["id"] in used or c.get("supercategory") != "none" or c["name"] not in parents
        }
        shapes = defaultdict(list)
        for thing in things:
            if not thing.get("segmentation"):
                raise ValueError(f"annotation {thing['id']} is a box: give it an outline")
            shapes[thing["image_id"]].append((names[thing["category_id"]], thing["segmentation"]))
        drawings = [
            Drawing([str(i["file_name"])], size_of(i["height"], i["width"]), shapes[i["id"]])
            for i in content["images"]
        ]
        return {name: int(number) for number, name in names.items()}, drawings


def _words(path: Path, root: Path) -> list[str]:
    return re.split("[^a-z]+", str(path.relative_to(root)).lower())


def _plain(label: str) -> str:
    return "background" if is_background(label) else label


def _image(find: Finder, names: Iterable[str], path: Path) -> str:
    """The image of one of these names, seen from a file; the last of them, if there is none.

    It may lie in a folder that the file is called after: ``instances_train2017.json``.
    """
    folder = path.relative_to(find.root).parent.as_posix()
    for name in names:
        name = name.replace("\\", "/")
        for part in ("", *path.stem.split("_")):
            if found := find(posixpath.normpath(posixpath.join(folder, part, name))):
                return found
        if found := find(name):
            return found
    return name
