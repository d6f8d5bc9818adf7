"""The base class of data sets: samples of an image and its mask, and names of the classes.

Readers differ only in where files lie and how a mask is stored. All of that is in
:class:`SegmentationDataset`'s two dictionaries of paths and its method ``read_mask``; reading,
checking and errors are written once, here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinyfcn.data.conventions import (
    DataError,
    check_classes,
    check_sample,
    read_image,
    read_mask,
)
from tinyfcn.data.palette import VOC_PALETTE

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
CLASS_FILES = ("classes.txt", "labels.txt")


class Sample(NamedTuple):
    """One image and its mask: image uint8 RGB (H, W, 3), mask uint8 (H, W) with 255 for void."""

    id: str
    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]


class SegmentationDataset:
    """Images and masks on disk; ``dataset[i]`` reads and checks the i-th :class:`Sample`.

    Args:
        ids: names of the samples, in order.
        images, masks: the file of each id; an id that has none is an error here, before any
            training starts.
        classes: class names; the position of a name is its index in the masks.
        palette: colours for masks that are coded in RGB, uint8 (colours, 3).
        source: where the ids come from, for error messages.

    Raises DataError if there are no ids, FileNotFoundError if files are missing.
    """

    def __init__(
        self,
        ids: Sequence[str],
        images: Mapping[str, Path],
        masks: Mapping[str, Path],
        classes: Sequence[str],
        palette: NDArray[np.uint8] = VOC_PALETTE,
        source: str | PathLike[str] = "data set",
    ):
        self.ids = tuple(ids)
        self.classes = tuple(classes)
        self.palette = palette
        check_classes(self.classes)
        if not self.ids:
            raise DataError(f"{source}: expected at least one image id, got none")
        for what, files in (("image", images), ("mask", masks)):
            missing = [name for name in self.ids if name not in files]
            if missing:
                raise FileNotFoundError(
                    f"{source}: {len(missing)} of {len(self.ids)} ids have no {what} file: "
                    + _some(missing)
                )
        self._images = [images[name] for name in self.ids]
        self._masks = [masks[name] for name in self.ids]

    @property
    def num_classes(self) -> int:
        """The number of classes, background included and void not."""
        return len(self.classes)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Sample:
        image = read_image(self._images[index])
        mask = self.read_mask(self._masks[index])
        check_sample(image, mask, self.num_classes, self._images[index], self._masks[index])
        return Sample(self.ids[index], image, mask)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def read_mask(self, path: Path) -> NDArray[np.uint8]:
        """Read one mask file as indices; a reader of another format overrides this."""
        return read_mask(path, self.palette)

    def check(self) -> None:
        """Read every sample and raise one DataError that lists all that are wrong."""
        problems = []
        for index in range(len(self)):
            try:
                self[index]
            except (DataError, OSError) as error:
                problems.append(str(error))
        if problems:
            raise DataError(
                f"{len(problems)} of {len(self)} samples are wrong:\n  " + "\n  ".join(problems)
            )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} samples, {self.num_classes} classes)"


class ConcatDataset(SegmentationDataset):
    """Data sets of the same classes, one after the other, as one: VOC's train and SBD, say."""

    def __init__(self, datasets: Sequence[SegmentationDataset]):
        if not datasets:
            raise ValueError("ConcatDataset: expected at least one data set, got none")
        for other in datasets[1:]:
            if other.classes != datasets[0].classes:
                raise DataError(
                    "ConcatDataset: all data sets must have the same classes, "
                    f"got {datasets[0].classes} and {other.classes}"
                )
        self.classes = datasets[0].classes
        self.ids = tuple(name for dataset in datasets for name in dataset.ids)
        self._places = [(dataset, i) for dataset in datasets for i in range(len(dataset))]

    def __getitem__(self, index: int) -> Sample:
        dataset, place = self._places[index]
        return dataset[place]


def find_folder(path: Path, what: str) -> Path:
    """``path`` if it is a folder, else FileNotFoundError that says what should lie there."""
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: there is no such folder; {what} should lie there")
    return path


def find_tree(root: str | PathLike[str], what: str, inside: str, nestings: Sequence[str]) -> Path:
    """The folder that has the folder ``inside``: ``root``, or one below it, or FileNotFoundError.

    ``nestings`` are the patterns of its path below ``root``; of several, the last by name is taken.
    """
    top = find_folder(Path(root), what)
    for folders in ([top], *(sorted(top.glob(nesting)) for nesting in nestings)):
        found = [folder for folder in folders if (folder / inside).is_dir()]
        if found:
            return found[-1]
    below = ", ".join(nestings).replace("*", "xx")
    raise FileNotFoundError(
        f"{top}: not {what}; expected {inside} in this folder or in a folder {below} of it"
    )


def files_by_id(folder: Path, what: str, suffixes: Iterable[str]) -> dict[str, Path]:
    """The files of a folder by name without suffix; two files of one name are rejected."""
    suffixes = tuple(suffixes)
    files: dict[str, Path] = {}
    for path in sorted(find_folder(folder, what).iterdir()):
        if path.suffix.lower() in suffixes and not path.name.startswith("."):
            if path.stem in files:
                raise DataError(
                    f"{folder}: expected one file for {path.stem!r}, "
                    f"got {files[path.stem].name} and {path.name}"
                )
            files[path.stem] = path
    return files


def read_lines(path: Path) -> tuple[str, ...]:
    """The lines of a text file without surrounding blanks and empty lines."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected a text file in UTF-8 ({error})") from error
    return tuple(line for line in map(str.strip, text.splitlines()) if line)


def read_ids(path: Path) -> tuple[str, ...]:
    """The image ids of a list, one a line; FileNotFoundError or DataError if there are none."""
    if not path.is_file():
        there = sorted({file.name for file in path.parent.glob("*.txt")} - {*CLASS_FILES})
        raise FileNotFoundError(
            f"{path}: there is no such list; image ids should lie there, one a line "
            f"(lists there: {', '.join(there) or 'none'})"
        )
    ids = read_lines(path)
    if not ids:
        raise DataError(f"{path}: the list is empty; expected image ids, one a line")
    return ids


def read_class_file(folder: Path) -> tuple[str, ...] | None:
    """Class names, one a line, from ``classes.txt`` or ``labels.txt`` of a folder, if there."""
    for name in CLASS_FILES:
        path = folder / name
        if path.is_file():
            classes = read_lines(path)
            check_classes(classes, path)
            return classes
    return None


def _some(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
