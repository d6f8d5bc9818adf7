"""The base class of data sets: samples of an image and its mask, and names of the classes.

Readers (``readers.py``) differ only in where files lie and how a mask is stored. All of that is in
:class:`SegmentationDataset`'s two dictionaries of paths and its method ``read_mask``; reading,
checking and errors are written once, here.
"""

from __future__ import annotations

import copy
import difflib
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinyfcn.data.conventions import DataError, check_classes, check_sample, read_image, read_mask
from tinyfcn.data.palette import VOC_PALETTE, VOID
from tinyfcn.files import AnyPath

__all__ = ["ConcatDataset", "Sample", "SegmentationDataset"]

NONE = "; make it, or leave the id out"
OBJECTS = "; if each object has a mask of its own, join those of an image into one"
Classes = Sequence[str] | Mapping[int, str]


class Sample(NamedTuple):
    """One image and its mask: image uint8 RGB (H, W, 3), or as ``read_image`` of its data set reads
    it, mask uint8 (H, W) with 255 for void."""

    id: str
    image: NDArray[Any]
    mask: NDArray[np.uint8]


class SegmentationDataset:
    """Images and masks on disk; ``dataset[i]`` reads and checks the i-th :class:`Sample`.

    Args:
        ids: names of the samples, in order.
        images, masks: the file of each id; an id that has none is an error here, before any
            training starts.
        classes: class names; the position of a name is its index in the masks. Where masks hold
            other values, a mapping of these to names, as in ``{7: "road", 8: "sidewalk"}``: the
            names become 0, 1, … in this order, one that comes again joins its values, "void" and
            values without a name are void.
        void: a value that is void, besides 255. The names go to the others, from 0 up.
        palette: colours for masks that are coded in RGB, uint8 (colours, 3).
        source: where the ids come from, for error messages.

    Attributes:
        read_image: reads an image file; that of a :class:`Preprocessing` gives other channels.

    Raises DataError if there are no ids, FileNotFoundError if files are missing.
    """

    notes: tuple[str, ...] = ()  # what was concluded about it, for the user

    def __init__(
        self,
        ids: Sequence[str],
        images: Mapping[str, Path],
        masks: Mapping[str, Path],
        classes: Classes,
        palette: NDArray[np.uint8] = VOC_PALETTE,
        source: AnyPath = "data set",
        void: int = VOID,
    ):
        self.ids = tuple(ids)
        self.read_image: Callable[..., NDArray[Any]] = read_image
        self.classes = names_of(classes)
        self.table = label_table(classes, void)
        self.palette = palette
        check_classes(self.classes)
        if not self.ids:
            raise DataError(f"{source}: expected at least one image id, but it is empty")
        for what, files in (("image", images), ("mask", masks)):
            objects = what == "mask" and len(files) > len(self.ids)
            missing = [name for name in self.ids if name not in files]
            if missing:
                more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
                raise FileNotFoundError(
                    f"{source}: {len(missing)} of {len(self.ids)} ids have no {what} file: "
                    f"{', '.join(missing[:5])}{more}{_looked(missing[0], files)}"
                    f"{OBJECTS if objects and missing == [*self.ids] else NONE}"
                )
        self.files = [(images[name], masks[name]) for name in self.ids]

    @property
    def num_classes(self) -> int:
        """The number of classes, background included and void not."""
        return len(self.classes)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Sample:
        mask = self.labels(index)
        image = self.image(index, mask.shape)
        check_sample(image, mask, self.num_classes, *self.files[index])
        return Sample(self.ids[index], image, mask)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def image(self, index: int, size: tuple[int, ...]) -> NDArray[Any]:
        """The image of a sample whose mask has this (H, W): a photo is turned as its EXIF
        orientation says where its mask was drawn so."""
        path = self.files[index][0]
        image = self.read_image(path)
        drawn_upright = image.shape[:2] != size == image.shape[1::-1]
        return self.read_image(path, upright=True) if drawn_upright else image

    def labels(self, index: int) -> NDArray[np.uint8]:
        """The mask of a sample, not checked: what its values stand for, uint8 (H, W)."""
        values = self.values(index)
        return values if self.table is None else self.table[values]

    def values(self, index: int) -> NDArray[np.uint8]:
        """The values in the mask file of a sample, as they stand there, uint8 (H, W)."""
        return self.read_mask(self.files[index][1])

    def read_mask(self, path: Path) -> NDArray[np.uint8]:
        """Read the values of one mask file; a reader of another format overrides this."""
        return read_mask(
            path, self.palette, greys=self.table is not None and self.palette is VOC_PALETTE
        )

    def only(self, ids: Collection[str]) -> SegmentationDataset:
        """The samples with these ids, in the same order."""
        part = copy.copy(self)
        kept = [index for index, name in enumerate(self.ids) if name in ids]
        part.ids = tuple(self.ids[index] for index in kept)
        part.files = [self.files[index] for index in kept]
        return part

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} samples, {self.num_classes} classes)"


class ConcatDataset(SegmentationDataset):
    """Data sets of the same classes, one after the other, as one: VOC's train and SBD, say."""

    def __init__(self, datasets: Sequence[SegmentationDataset]):
        classes = list(dict.fromkeys(dataset.classes for dataset in datasets))
        if len(classes) != 1:
            raise DataError(
                "ConcatDataset: expected at least one data set, and the same classes in all, "
                f"got {' and '.join(map(str, classes)) or 'none'}"
            )
        self.classes, self.read_image = classes[0], datasets[0].read_image
        self.ids = tuple(name for dataset in datasets for name in dataset.ids)
        self.table = datasets[0].table
        self.files = [pair for dataset in datasets for pair in dataset.files]
        self._places = [(dataset, i) for dataset in datasets for i in range(len(dataset))]

    def labels(self, index: int) -> NDArray[np.uint8]:
        """The mask of a sample."""
        dataset, place = self._places[index]
        return dataset.labels(place)

    def values(self, index: int) -> NDArray[np.uint8]:
        """The values in the mask file of a sample."""
        dataset, place = self._places[index]
        return dataset.values(place)


def names_of(classes: Classes) -> tuple[str, ...]:
    """The names of the classes, in order; "void" in a mapping is none."""
    if not isinstance(classes, Mapping):
        return tuple(classes)
    return tuple(dict.fromkeys(name for name in classes.values() if name != "void"))


def label_table(classes: Classes, void: int = VOID) -> NDArray[np.uint8] | None:
    """The label that each value of a mask file stands for, uint8 (256,); None: each for itself.

    A value that no name is for is void where there is a mapping; else it stays what it is, which is
    no label, and :func:`check_sample` rejects it.

    >>> label_table({7: "road", 8: "sidewalk"})[[7, 8, 9]].tolist()
    [0, 1, 255]
    >>> label_table(["wall", "floor"], void=0)[[0, 1, 2, 3, 255]].tolist()
    [255, 0, 1, 3, 255]
    """
    table = np.arange(256, dtype=np.uint8)
    if isinstance(classes, Mapping):
        values, table[:] = classes, VOID
    elif void == VOID:
        return None
    else:
        values = dict(zip((value for value in range(256) if value != void), classes, strict=False))
    wrong = [value for value in (void, *values) if not 0 <= value <= 255]
    if wrong or (void in values and void != VOID):
        raise DataError(
            f"mask values: expected each from 0 to 255, and void not among the classes, got "
            f"{wrong[0] if wrong else f'void {void}'}"
        )
    table[void] = VOID
    labels = {"void": VOID, **{name: label for label, name in enumerate(names_of(classes))}}
    for value, name in values.items():
        table[value] = labels[name]
    return table


def _looked(name: str, files: Mapping[str, Path]) -> str:
    """Where files were looked for, and which is the nearest by name, for an error message."""
    if not files:
        return "; none is there"
    endings = ", ".join(sorted({path.suffix for path in files.values()}))
    folder = os.path.commonpath([path.parent for path in files.values()])
    near = difflib.get_close_matches(name, files, 1, 0.5)
    nearest = f"; the nearest is {files[near[0]].name}" if near else ""
    return f"; {folder} has {len(files)} ({endings}){nearest}"
