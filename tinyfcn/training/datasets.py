"""Find out what lies in a folder of data, and open it for training and for scoring."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinyfcn import data
from tinyfcn.data import VOID, DataError, NoClassNames, NoSplit, SegmentationDataset, held_out
from tinyfcn.data.class_files import as_value_pairs
from tinyfcn.data.conventions import counted
from tinyfcn.data.dataset import Classes, label_table
from tinyfcn.data.drawn import read_json
from tinyfcn.data.pairing import Found, files_below, find_pairs
from tinyfcn.data.readers import find_voc
from tinyfcn.training import report
from tinyfcn.training.model_spec import class_list

SCENES_TO_SCORE = 200
BLACK_AND_WHITE = ("background", "foreground")  # where nobody named them
MANY = 16  # values that are no classes: the doctor says what they may be
SOME = 50  # masks that are looked at, to say what they hold
VAL_SHARE = 0.2  # held out to score on, where no list says what


def draw_scenes(root: Path, train: int) -> Path:
    """Write synthetic scenes as a VOC tree, with a progress bar; those that are there are kept."""
    progress = functools.partial(report.bar, desc="drawing scenes")
    return data.write_voc_tree(root, train=train, val=SCENES_TO_SCORE, progress=progress)


def open_dataset(
    root: str | os.PathLike[str],
    split: str | None,
    classes: Classes | None = None,
    void: int | None = None,
) -> SegmentationDataset:
    """The images of a list, or of a folder of that name; None for all.

    Masks of 0 and 255 alone are black and white: where there are at most two names, white is not
    void but what the last stands for, and the data set's ``notes`` say so. Where not both have a
    name, that holds for 0 and 1 too. A mapping as ``classes``, or ``void``, decides instead.

    Raises:
        DataError, FileNotFoundError: saying what was looked for where.
    """
    folder = _Folder(root, classes, void)
    return folder.judged(folder.open(split))[0]


class _Folder:
    """A folder that is searched once, whatever lists of it are opened."""

    def __init__(
        self, root: str | os.PathLike[str], classes: Classes | None, void: int | None
    ) -> None:
        self.root, self.classes, self.void = Path(root), classes, void
        self.nameless: NoClassNames | None = None
        drawn = outlines_in(self.root)
        self.drawn = drawn is not None
        if drawn is None:
            form = data.VOCSegmentation if find_voc(self.root) else data.FolderSegmentation
            drawn = form, form.find(self.root)
        elif isinstance(classes, Mapping) or void is not None:
            raise DataError(
                f"{root}: masks are drawn from outlines, so they have no values to name; "
                "classes=A,B,… sets the order of the classes"
            )
        self.reader, self.found = drawn

    def open(self, split: str | None) -> SegmentationDataset:
        """The images of a list."""
        options = {} if self.drawn or self.void is None else {"void": self.void}
        try:
            return self.reader(self.found, split, self.classes, **options)
        except NoClassNames as error:
            self.nameless, self.classes = error, BLACK_AND_WHITE
            return self.open(split)

    def judged(self, *parts: SegmentationDataset) -> tuple[SegmentationDataset, ...]:
        """The lists, once it is clear, of all of them, whether their masks are black and white.

        Raises NoClassNames where they are not, and nothing names the classes.
        """
        names, pairs = parts[0].classes, [(0, VOID)]
        if not self.classes and names == data.VOC_CLASSES:  # for want of others
            names = BLACK_AND_WHITE
        elif self.nameless or len(names) == 1:
            names, pairs = (*BLACK_AND_WHITE[:1], names[-1]), [(0, VOID), (0, 1)]
        if self.drawn or self.void is not None or parts[0].table is not None or len(names) != 2:
            pairs = []
        held = _held(parts, pairs, SOME if self.nameless else 1) if pairs or self.nameless else ()
        for pair in pairs:
            if held == [*pair] or (held == [VOID] == [pair[1]] and not self.nameless):
                values = dict(zip(pair, names, strict=True))
                for part in parts:
                    part.classes, part.table = names, label_table(values)
                    part.notes += (
                        f"the masks hold {pair[0]} and {pair[1]} alone, which are taken as "
                        f"{names[0]} and {names[1]}, as by mask_values={as_value_pairs(values)}",
                    )
                return parts
        if self.nameless and len(held) < MANY:
            for mask in _masks(parts) if held in ([], [0]) else ():
                mask()  # says what is wrong with one
            words = ["background", *(f"NAME{number}" for number in range(1, 9))]
            some = dict(zip(held, words, strict=False))
            if VOID in some and len(held) > 2:
                some[VOID] = "void"
            raise NoClassNames(
                f"{self.nameless}; mask_values={as_value_pairs(some)} names what masks hold"
            )
        return parts


def _masks(parts: Sequence[SegmentationDataset]) -> Iterator[Callable[[], NDArray[np.uint8]]]:
    """What reads each mask."""
    return (functools.partial(part.values, index) for part in parts for index in range(len(part)))


def _held(
    parts: Sequence[SegmentationDataset], pairs: Collection[tuple[int, int]], least: int
) -> list[int]:
    """What masks hold; after so many, only as long as it is in one of the pairs."""
    found: set[int] = set()
    for number, values in enumerate(_masks(parts), 1):
        with contextlib.suppress(DataError, OSError):  # said where everything is looked at
            found.update(np.flatnonzero(counted(values())).tolist())
        if number >= least and not any(found <= {*pair} for pair in pairs):
            break
    return sorted(found)


def open_datasets(
    root: str | os.PathLike[str],
    train_split: str = "train",
    val_split: str = "val",
    classes: Classes | None = None,
    sbd_root: str | os.PathLike[str] | None = None,
    void: int | None = None,
    val_share: float | None = None,
    by_folder: bool = False,
) -> tuple[SegmentationDataset, SegmentationDataset]:
    """The training and the validation set.

    Args:
        root: as for :func:`open_dataset`.
        train_split, val_split: names of the lists, or of folders.
        classes: class names, or a mapping of the masks' values to them; None lets the data say.
        sbd_root: SBD, whose images are added to the training set.
        void: a value that is void, besides 255.
        val_share: the share of the images to score on where there are no lists, 0.2 if not given:
            see :func:`tinyfcn.data.held_out`. If there is a list to train on, it is taken from it.
        by_folder: keep the images of a folder on one side.

    Raises:
        DataError, FileNotFoundError: saying what was looked for where.
    """
    folder = _Folder(root, classes, void)
    try:
        validation = folder.open(val_split)
    except NoSplit as none:
        if val_split != "val":  # it was asked for
            raise
        whole = _to_share(folder.open, train_split, none, val_share)
        chosen = held_out(whole.ids, val_share or VAL_SHARE, by_folder)
        whole.notes += (
            f"{len(chosen)} of {len(whole)} images are held out to score on, by a hash of their "
            f"{'folders' if by_folder else 'names'}",
        )
        training, validation = whole.only({*whole.ids} - chosen), whole.only(chosen)
    else:
        training = folder.open(train_split)
        if val_share is not None:
            raise DataError(f"{root}: images to score on are set apart already, as {val_split}")
    training, validation = folder.judged(training, validation)
    if training.classes != validation.classes:
        both = " and ".join(class_list(part.classes) for part in (training, validation))
        raise DataError(
            f"{root}: expected the same classes to train on and to score on, got {both}"
        )
    if sbd_root is not None:
        if training.classes != data.VOC_CLASSES:
            raise DataError(
                f"SBD has the 21 classes of VOC, but the data has {class_list(training.classes)}"
            )
        # SBD's lists overlap those of VOC: never train on an image that is scored.
        sbd = data.SBDSegmentation(sbd_root)
        others = {*sbd.ids} - {*training.ids, *validation.ids}
        training = data.ConcatDataset([training, sbd.only(others)])
    overlap = set(training.ids) & set(validation.ids)
    if overlap and train_split != val_split:
        some = ", ".join(sorted(overlap)[:5])
        raise DataError(
            f"in both lists, {train_split} and {val_split}: {len(overlap)} of {len(validation)}, "
            f"such as {some}; take them out of one, or scores would say nothing"
        )
    return training, validation


def outlines_in(root: Path) -> tuple[Callable[..., SegmentationDataset], Found] | None:
    """The reader of the JSON files in a folder, and its images, where there are no masks."""
    for path in itertools.islice(files_below(root, (".json",)), 9):
        with contextlib.suppress(DataError, OSError, AttributeError):
            keys = read_json(path).keys()
            for reader in (data.CocoSegmentation, data.LabelmeSegmentation):
                if keys >= reader.keys and not (found := find_pairs(root)).masks:
                    return reader, found
    return None


def _to_share(
    opened: Callable[[str | None], SegmentationDataset],
    split: str,
    none: NoSplit,
    share: float | None,
) -> SegmentationDataset:
    """What is trained on and scored on where ``none`` says that nothing is set apart to score on.

    Unless a share was asked for, that is the whole folder, or CVAT's list of all.
    """
    whole: SegmentationDataset | None = None
    others = {*none.lists} - {f"{split}.txt", "default.txt"}
    try:
        whole = opened(split)
        others |= {"images"} if len(whole) < none.images else set()
    except NoSplit:
        if split != "train":
            raise
        if share is not None or not others:
            whole = opened("default" if none.lists == ("default.txt",) else None)
    if whole is None or (others and share is None):
        raise NoSplit(f"{none}; val_share={VAL_SHARE} holds out some images to score on") from None
    return whole
