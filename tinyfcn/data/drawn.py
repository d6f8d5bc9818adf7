"""Data sets whose masks are drawn: what the JSON files of labelme and COCO say of their images."""

from __future__ import annotations

import abc
import json
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfcn.data.class_colours import is_background
from tinyfcn.data.class_files import VOID_NAMES, find_class_file
from tinyfcn.data.conventions import DataError
from tinyfcn.data.dataset import SegmentationDataset, names_of
from tinyfcn.data.image_file import check_pixels
from tinyfcn.data.lists import find_list, ids_of, split_names
from tinyfcn.data.outlines import fill
from tinyfcn.data.pairing import Finder, Found, files_below, find_pairs, two_files
from tinyfcn.data.palette import VOID
from tinyfcn.files import AnyPath, open_regular

__all__ = ["CocoSegmentation", "LabelmeSegmentation"]

_WRONG = (AttributeError, LookupError, OverflowError, TypeError, ValueError)
# Of an image: names of its file, height and width, and for each shape label, kind and points.
Drawing = tuple[Sequence[str], tuple[Any, Any], list[tuple[str, str, Any]]]


class DrawnSegmentation(SegmentationDataset, abc.ABC):
    """Images below a folder, and JSON files that say what to draw on masks of them.

    Pixels in no shape are background, or the first class, where that is in no shape; those in one
    called ``void`` or ``__ignore__`` are void. Images that no file describes are left out.

    Args:
        root: the folder, or what ``find_pairs`` found in it.
        split: name of a list or a folder, as for :class:`FolderSegmentation`; default all.
        classes: class names, all labels among them; background comes first where it is not named.
            Default those of a class file (``class_files.py``) in ``root``, else the labels.

    Raises FileNotFoundError for a missing folder, list, or image, DataError for a damaged file and
    for labels that are no classes.
    """

    tool, keys = "", frozenset[str]()  # what its files have
    many = False  # whether one describes many images

    def __init__(
        self, root: AnyPath | Found, split: str | None = None, classes: Sequence[str] | None = None
    ):
        self.root, images, _ = root if isinstance(root, Found) else find_pairs(Path(root))
        find = Finder(self.root, images)
        paths, of_split = [*files_below(self.root, (".json",))], []
        if self.many:
            paths = [path for path in paths if path.name.startswith("instances")] or paths
            if split is not None and find_list(self.root, split) is None:
                of_split = [p for p in paths if split_names(split) & _words(p, self.root)]
        self._drawings: dict[str, Drawing] = {}
        described: dict[str, Path] = {}
        drawn: dict[str, Path] = {}
        order: dict[str, Any] = {}
        for path in of_split or paths:
            content = read_json(path)
            if not (isinstance(content, dict) and self.keys <= content.keys()):
                continue
            try:
                labels, drawings = self.read(content, path)
            except _WRONG as error:
                why = error if isinstance(error, ValueError) else repr(error)
                raise DataError(f"{path}: expected a file of {self.tool} ({why})") from error
            order = {**labels, **order}
            for names, size, shapes in drawings:
                name = _image(find, names, path)
                if name not in images and content.get("imageData"):  # labelme's, inside
                    name = path.relative_to(self.root).with_suffix("").as_posix()
                    images[name] = path
                if described.setdefault(name, path) is not path:
                    raise two_files(name, described[name], path)
                self._drawings[name] = names, size, shapes
                drawn |= {label: path for label, *_ in shapes}
        found = ["background", *sorted(order.keys() - VOID_NAMES, key=order.__getitem__)]
        names = names_of(classes or find_class_file(self.root)[0] or [*dict.fromkeys(found)])
        if names[0] in drawn and not any(map(is_background, names)):
            names = ("background", *names)
        self._labels = {"background": 0, **dict.fromkeys(VOID_NAMES, VOID)}
        self._labels |= {_plain(name): label for label, name in enumerate(names)}
        wrong = [f"{n!r} ({path})" for n, path in drawn.items() if n not in self._labels]
        if wrong:
            raise DataError(
                f"{self.root}: expected a class for all that is drawn, got {', '.join(names)}; "
                f"without {', '.join(wrong)}; classes={','.join(dict.fromkeys(found))} names all"
            )
        if not images:
            raise FileNotFoundError(
                f"{self.root}: JSON files of {self.tool}, but no images in it and below: give the "
                "folder that holds both"
            )
        ids, source = [*described], self.root
        if not of_split:
            those = {name: images.get(name, path) for name, path in described.items()}
            lists = sorted({path.name for path in described.values()}) if self.many else []
            ids, source = ids_of(self.root, split, those, {}, lists[1:] and lists)
        super().__init__(ids, images, described, names, source=source)
        if (left := images.keys() - described) and not of_split:
            self.notes += (
                f"{len(left)} of {len(images)} images, such as {min(left)}, are in no JSON file, "
                "and are left out; where there is nothing on them, save them without outlines",
            )

    @abc.abstractmethod
    def read(self, content: Any, path: Path) -> tuple[Mapping[str, Any], Iterable[Drawing]]:
        """What is in a file: its labels, with what they are sorted by, and of each image."""

    def values(self, index: int) -> NDArray[np.uint8]:
        """The shapes on an image, drawn as indices one over the other, uint8 (H, W)."""
        _, size, shapes = self._drawings[self.ids[index]]
        if None in size:
            size = self.read_image(self.files[index][0], upright=True).shape[:2]
        label = "the image"
        try:
            height, width = map(int, size)
            check_pixels(height, width)
            mask = np.full((height, width), self._labels["background"], np.uint8)
            for label, kind, points in shapes:
                fill(mask, kind, points, self._labels[label])
            return mask
        except _WRONG as error:
            what = f"{label} in {self.ids[index]} cannot be drawn"
            raise DataError(f"{self.files[index][1]}: {what} ({error})") from error


class LabelmeSegmentation(DrawnSegmentation):
    """What labelme (Wada) saves: for each image a JSON file of the same name, or that names it.

    Polygons, rectangles and circles are drawn in their order; other kinds, which have no area, are
    refused.
    """

    tool, keys = "labelme", frozenset({"shapes"})

    def read(self, content: Any, path: Path) -> tuple[Mapping[str, Any], Iterable[Drawing]]:
        """The image of a file, and its shapes as they stand there."""
        shapes = [
            (_plain(s["label"]), s.get("shape_type") or "polygon", s["points"])
            for s in content["shapes"]
        ]
        names = path.stem, str(content.get("imagePath") or path.stem)
        size = content.get("imageHeight"), content.get("imageWidth")
        return {label: label for label, *_ in shapes}, [(names, size, shapes)]


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

    def read(self, content: Any, path: Path) -> tuple[Mapping[str, Any], Iterable[Drawing]]:
        """The categories by their ids, and all images."""
        things, categories = content["annotations"], content["categories"]
        # Roboflow has a category above all others, of which nothing is.
        parents = {c.get("supercategory") for c in categories} - {"none"}
        used = {thing["category_id"] for thing in things}
        names = {
            c["id"]: _plain(c["name"])
            for c in categories
            if c["id"] in used or c.get("supercategory") != "none" or c["name"] not in parents
        }
        shapes = defaultdict(list)
        for thing in sorted(things, key=lambda t: (not t.get("iscrowd"), -(t.get("area") or 0))):
            if not (area := thing.get("segmentation")):
                raise ValueError(f"annotation {thing['id']} is a box: give it an outline")
            runs = isinstance(area, dict)
            for points in [area["counts"]] if runs else area:
                kind = "runs" if runs else "polygon"
                shapes[thing["image_id"]].append((names[thing["category_id"]], kind, points))
        return {name: int(number) for number, name in names.items()}, [
            ([str(i["file_name"])], (i.get("height"), i.get("width")), shapes[i["id"]])
            for i in content["images"]
        ]


def read_json(path: Path) -> Any:
    """What is in a JSON file; DataError if it is none."""
    try:
        with open_regular(path) as file:
            return json.loads(file.read().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected a JSON file ({error})") from error


def _image(find: Finder, names: Iterable[str], path: Path) -> str:
    """The image of one of these names, seen from a file; the last of them, if there is none.

    It may lie in a folder that the file is called after: ``instances_train2017.json``.
    """
    folder = path.relative_to(find.root).parent.as_posix()
    for name in names:
        name = name.replace("\\", "/")
        near = (posixpath.join(folder, part, name) for part in ("", *path.stem.split("_")))
        for place in (*map(posixpath.normpath, near), name):
            if found := find(place):
                return found
    return name


def _plain(label: str) -> str:
    return "background" if is_background(label) else label


def _words(path: Path, root: Path) -> set[str]:
    return {*re.split("[^a-z]+", str(path.relative_to(root)).lower())}
