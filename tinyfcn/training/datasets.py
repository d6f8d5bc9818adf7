"""Find out what lies in a folder of data, and open it for training and for scoring."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from tinyfcn import data
from tinyfcn.data import VOID, DataError, SegmentationDataset
from tinyfcn.data.dataset import Classes
from tinyfcn.training import report
from tinyfcn.training.model_spec import class_list

SCENES_TO_SCORE = 200


def draw_scenes(root: Path, train: int) -> Path:
    """Write synthetic scenes as a VOC tree, with a progress bar; those that are there are kept."""
    progress = functools.partial(report.bar, desc="drawing scenes")
    return data.write_voc_tree(root, train=train, val=SCENES_TO_SCORE, progress=progress)


def open_dataset(
    root: str | os.PathLike[str],
    split: str,
    classes: Classes | None = None,
    void: int | None = None,
) -> SegmentationDataset:
    """The images of a list: of a folder with images/ and masks/, else of a VOC tree.

    Raises:
        DataError, FileNotFoundError: saying what was looked for where.
    """
    root = Path(root)
    plain = (root / "images").is_dir() and (root / "masks").is_dir()
    return (data.FolderSegmentation if plain else data.VOCSegmentation)(
        root, split, classes, void=VOID if void is None else void
    )


def open_datasets(
    root: str | os.PathLike[str],
    train_split: str = "train",
    val_split: str = "val",
    classes: Classes | None = None,
    sbd_root: str | os.PathLike[str] | None = None,
    void: int | None = None,
) -> tuple[SegmentationDataset, SegmentationDataset]:
    """The training and the validation set.

    Args:
        root: as for :func:`open_dataset`.
        train_split, val_split: names of the lists.
        classes: class names, or a mapping of the masks' values to them; None lets the data say.
        sbd_root: SBD, whose images are added to the training set.
        void: a value that is void, besides 255.

    Raises:
        DataError, FileNotFoundError: saying what was looked for where.
    """
    training = open_dataset(root, train_split, classes, void)
    validation = open_dataset(root, val_split, classes, void)
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
        raise DataError(
            f"{len(overlap)} images are in both lists, {train_split} and {val_split}, such as "
            f"{min(overlap)}: scores would say nothing"
        )
    return training, validation
