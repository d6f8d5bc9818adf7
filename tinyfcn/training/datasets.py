"""Find out what lies in a folder of data, and open it for training and for scoring."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np

from tinyfcn import data
from tinyfcn.data import VOID, DataError, NoClassNames, NoSplit, SegmentationDataset, held_out
from tinyfcn.data.conventions import counted
from tinyfcn.data.dataset import Classes, label_table
from tinyfcn.data.drawn import read_json
from tinyfcn.data.pairing import files_below, find_pairs
from tinyfcn.data.readers import find_voc
from tinyfcn.training import report
from tinyfcn.training.model_spec import class_list

SCENES_TO_SCORE = 200
BLACK_AND_WHITE = ("background", "foreground")  # where nobody named them
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
    void but what the last stands for, and the data set's ``note`` says so. Where not both have a
    name, that holds for 0 and 1 too. A mapping as ``classes``, or ``void``, decides instead.

    Raises:
        DataError, FileNotFoundError: saying what was looked for where.
    """
    if outlines := outlines_in(Path(root)):
        if isinstance(classes, Mapping) or void is not None:
            raise DataError(
                f"{root}: masks are drawn from outlines, and have no values; classes=NAME,… names "
                "what is drawn, in another order"
            )
        return outlines(root, split, classes)
    form = data.VOCSegmentation if find_voc(Path(root)) else data.FolderSegmentation
    nameless = None
    try:
        dataset = form(root, split, classes, void=VOID if void is None else void)
    except NoClassNames as error:
        dataset, nameless = form(root, split, BLACK_AND_WHITE), error
    names, pairs = dataset.classes, [{0, VOID}]
    if not classes and names == data.VOC_CLASSES:  # for want of others
        names = BLACK_AND_WHITE
    elif nameless or len(names) == 1:
        names, pairs = (*BLACK_AND_WHITE[:1], names[-1]), [{0, VOID}, {0, 1}]
    if void is not None or dataset.table is not None or len(names) != 2:
        pairs = []
    held = _held(dataset, pairs, SOME if nameless else 1) if pairs or nameless else set()
    if held in pairs:
        (black, first), (white, second) = zip(sorted(held), names, strict=True)
        dataset.classes, dataset.table = names, label_table({black: first, white: second})
        dataset.note = (
            f"the masks hold {black} and {white} alone, which are taken as {first} and {second}"
        )
    elif nameless:
        if not held:
            dataset.values(0)  # says what is wrong with it
        words = ["background", *(f"NAME{number}" for number in range(1, 9))]
        void_too = {VOID: "void"} if len(held) > 2 else {}
        some = dict(zip(sorted(held), words, strict=False))
        values = ",".join(f"{value}:{void_too.get(value, name)}" for value, name in some.items())
        raise NoClassNames(f"{nameless}; mask_values={values} names what masks hold")
    return dataset


def _held(dataset: SegmentationDataset, pairs: Collection[set[int]], least: int) -> set[int]:
    """What masks hold; after so many, only as long as it is in one of the pairs."""
    found: set[int] = set()
    for index in range(len(dataset)):
        with contextlib.suppress(DataError, OSError):  # said where everything is looked at
            found.update(np.flatnonzero(counted(dataset.values(index))).tolist())
        if index + 1 >= least and not any(found <= pair for pair in pairs):
            break
    return found


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
    opened = functools.partial(open_dataset, root, classes=classes, void=void)
    try:
        validation = opened(val_split)
    except NoSplit as none:
        if val_split != "val":  # it was asked for
            raise
        whole = _to_share(opened, train_split, none, val_share)
        chosen = held_out(whole.ids, val_share or VAL_SHARE, by_folder)
        training, validation = whole.only({*whole.ids} - chosen), whole.only(chosen)
    else:
        training = opened(train_split)
        if val_share is not None:
            raise DataError(f"{root}: images to score on are set apart already, as {val_split}")
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
        known = {*training.ids, *validation.ids}
        training = data.ConcatDataset([training, data.SBDSegmentation(sbd_root, exclude=known)])
    overlap = set(training.ids) & set(validation.ids)
    if overlap and train_split != val_split:
        some = ", ".join(sorted(overlap)[:5])
        raise DataError(
            f"in both lists, {train_split} and {val_split}: {len(overlap)} of {len(validation)}, "
            f"such as {some}; take them out of one, or scores would say nothing"
        )
    return training, validation


def outlines_in(root: Path) -> type[data.CocoSegmentation] | type[data.LabelmeSegmentation] | None:
    """The reader of the JSON files in a folder, where there are no masks."""
    for path in itertools.islice(files_below(root, (".json",)), 9):
        with contextlib.suppress(DataError, OSError, AttributeError):
            keys = read_json(path).keys()
            for reader in (data.CocoSegmentation, data.LabelmeSegmentation):
                if keys >= reader.keys and not find_pairs(root)[1]:
                    return reader
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
