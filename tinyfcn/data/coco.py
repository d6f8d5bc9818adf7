"""Reads COCO's annotation files: polygons and run-length encoded masks of objects.

Lin et al., ECCV 2014; cocodataset.org/#format-data says what is in them. CVAT, Roboflow and Label
Studio write them too.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfcn.data.conventions import DataError
from tinyfcn.data.dataset import SegmentationDataset
from tinyfcn.data.lists import OTHER_NAMES, Finder, NoSplit
from tinyfcn.data.outlines import decode_runs, fill, read_json, size_of
from tinyfcn.data.pairing import files_below, read_name

__all__ = ["CocoSegmentation"]


class CocoSegmentation(SegmentationDataset):
    """Images and the JSON files that describe them, all below one folder.

    Objects are drawn as their category: crowds first, then the larger before the smaller, so that
    what lies on another stays. What is in no object is background, class 0.

    Args:
        root: the folder.
        split: a word in the path of the files to read, as in ``instances_train2017.json`` and
            ``train/_annotations.coco.json``; default all. Where some are called ``instances_…``,
            only they are read.
        classes: class names, background first, all categories among them; default background and
            the categories by their ids.

    Raises NoSplit if no file is of the split, FileNotFoundError for a missing image, DataError for
    a file that is none of COCO.
    """

    def __init__(
        self,
        root: str | PathLike[str],
        split: str | None = None,
        classes: Sequence[str] | None = None,
    ):
        self.root = Path(root)
        files = [*files_below(self.root, (".json",))]
        files = [path for path in files if path.name.startswith("instances")] or files
        names = {split, *OTHER_NAMES.get(split or "", ())}
        wanted = [path for path in files if split is None or names & _words(path, self.root)]
        if not wanted:
            there = [path.name for path in files]
            raise NoSplit(
                f"{self.root}: no file of annotations is called {split} ({', '.join(there)})",
                there[1:] and there,
            )
        images = {read_name(path, self.root).whole: path for path in files_below(self.root)}
        self._objects: dict[str, tuple[tuple[int, int], list[tuple[str, Any]]]] = {}
        described: dict[str, Path] = {}
        categories: dict[int, str] = {}
        for path in wanted:
            try:
                found, objects = _contents(read_json(path), path.parent, Finder(self.root, images))
            except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
                raise DataError(f"{path}: expected annotations of COCO ({error!r})") from error
            categories |= found
            self._objects |= objects
            described |= dict.fromkeys(objects, path)
        named = [categories[key] for key in sorted(categories)]
        background = [name for name in named if name.strip("_").lower() == "background"][:1]
        known = tuple(classes or dict.fromkeys([*(background or ["background"]), *named]))
        if not {*named} <= {*known}:
            raise DataError(f"{self.root}: not all categories, {named}, are classes, {known}")
        super().__init__([*described], images, described, known, source=self.root)

    def values(self, index: int) -> NDArray[np.uint8]:
        """The objects of a sample, drawn as indices, uint8 (H, W)."""
        size, objects = self._objects[self.ids[index]]
        mask = np.zeros(size, np.uint8)
        for category, area in objects:
            label = self.classes.index(category)
            try:
                if isinstance(area, dict):
                    mask[decode_runs(area["counts"], *size)] = label
                else:
                    for corners in area:
                        fill(mask, corners, label)
            except (LookupError, OverflowError, TypeError, ValueError) as error:
                raise DataError(
                    f"{self.files[index][1]}: {category} in {self.ids[index]}: expected polygons "
                    f"or runs ({error})"
                ) from error
        return mask


def _words(path: Path, root: Path) -> set[str]:
    return {*re.split("[^a-z]+", str(path.relative_to(root)).lower())}


def _contents(
    content: dict[str, Any], folder: Path, find: Finder
) -> tuple[dict[int, str], dict[str, tuple[tuple[int, int], list[tuple[str, Any]]]]]:
    """The names of the categories, and of each image the size, categories and areas of objects."""
    parents = {category.get("supercategory") for category in content["categories"]}
    categories = {
        int(category["id"]): str(category["name"])
        for category in content["categories"]
        # Roboflow has one above all others, of which nothing is.
        if category.get("supercategory") != "none" or category["name"] not in parents
    }
    of_image = defaultdict(list)
    for thing in content["annotations"]:
        if not thing.get("segmentation"):
            raise ValueError(f"annotation {thing['id']} is a box without an outline")
        of_image[thing["image_id"]].append(thing)
    by_path = {path: name for name, path in find.images.items()}
    images = {}
    for image in content["images"]:
        file = image["file_name"]
        name = by_path.get(folder / file) or find(file) or file
        things = sorted(of_image[image["id"]], key=lambda thing: -thing.get("area", 0))
        things.sort(key=lambda thing: not thing.get("iscrowd"))
        images[name] = (
            size_of(image["height"], image["width"]),
            [(categories[int(thing["category_id"])], thing["segmentation"]) for thing in things],
        )
    return categories, images
