"""Find out what lies at ``--data-root`` and open it for training and for scoring."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from tinyfcn.data import (
    VOC_CLASSES,
    ColourJitter,
    Compose,
    ConcatDataset,
    DataError,
    FolderSegmentation,
    MirrorBorder,
    RandomCrop,
    RandomHorizontalFlip,
    RandomScale,
    SBDSegmentation,
    SegmentationDataset,
    VOCSegmentation,
    write_voc_tree,
)
from tinyfcn.data.dataset import read_lines
from tinyfcn.nn import Module
from tinyfcn.training import report
from tinyfcn.training.model_spec import class_list
from tinyfcn.training.run_folder import RunFolder

SCENES_TO_SCORE = 200


def open_datasets(
    options: argparse.Namespace, run: RunFolder
) -> tuple[SegmentationDataset, SegmentationDataset]:
    """The training and the validation set that the options describe.

    Without ``data_root`` synthetic scenes are first written into the run folder, as a VOC tree.

    Raises:
        DataError, FileNotFoundError: saying what was looked for where.
    """
    if options.data_root is None:
        root = run.path / "scenes"
        write_voc_tree(
            root,
            train=options.scenes,
            val=SCENES_TO_SCORE,
            progress=lambda scenes: report.bar(scenes, desc="drawing scenes"),
        )
    else:
        root = Path(options.data_root)
    classes = _class_names(options.classes)

    training: SegmentationDataset
    validation: SegmentationDataset
    if (root / "images").is_dir() and (root / "masks").is_dir():
        training = FolderSegmentation(root, options.train_split, classes)
        validation = FolderSegmentation(root, options.val_split, classes)
    else:
        training = VOCSegmentation(root, options.train_split, classes)
        validation = VOCSegmentation(root, options.val_split, classes)
    if options.sbd_root is not None:
        if training.classes != VOC_CLASSES:
            raise DataError(
                "--sbd-root: SBD has the 21 classes of VOC, but the data has "
                f"{class_list(training.classes)}"
            )
        # SBD's lists overlap those of VOC: never train on an image that is scored.
        known = {*training.ids, *validation.ids}
        training = ConcatDataset([training, SBDSegmentation(options.sbd_root, exclude=known)])
    overlap = set(training.ids) & set(validation.ids)
    if overlap and options.train_split != options.val_split:
        raise DataError(
            f"{len(overlap)} images are in both lists, {options.train_split} and "
            f"{options.val_split}, such as {min(overlap)}: scores would say nothing"
        )
    return training, validation


def augmentation(options: argparse.Namespace, model: Module) -> Compose:
    """The transforms that the options ask for: scale, crop, flip, colours, in this order.

    A model that has a ``margin`` without scores, as U-Net without padding, gets images with one:
    mirrored beyond their border, and a crop that is as much larger. What is scored is the crop
    then, or a little more where the model does not have every size.
    """
    transforms: list[object] = []
    margin: int = getattr(model, "margin", 0)
    window: Callable[[int], int] = getattr(model, "window", int)  # side that so many scores need
    if options.jitter:
        transforms.append(RandomScale(1 - options.jitter, 1 + options.jitter))
    if margin:
        transforms.append(MirrorBorder(margin, lambda n: window(max(n, options.crop or 1))))
    if options.crop:
        transforms.append(RandomCrop(window(options.crop)))
    if options.flip:
        transforms.append(RandomHorizontalFlip())
    if options.colour_jitter:
        transforms.append(ColourJitter(*[options.colour_jitter] * 3))
    return Compose(*transforms)  # type: ignore[arg-type]


def _class_names(given: str | None) -> tuple[str, ...] | None:
    """``a,b,c``, or the lines of a file of that name; None lets the data set say."""
    if given is None:
        return None
    if "," not in given:
        path = Path(given)
        if not path.is_file():
            raise FileNotFoundError(
                f"--classes {given}: no such file; expected names separated by commas, or a text "
                "file with one name a line"
            )
        names: Sequence[str] = read_lines(path, "class names")
    else:
        names = given.split(",")
    return tuple(name.strip() for name in names if name.strip())
