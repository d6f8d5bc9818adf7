"""Reads any folder of images and masks: files of one name in both folders are a sample."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinyfcn.data.conventions import DataError
from tinyfcn.data.dataset import (
    CLASS_FILES,
    IMAGE_SUFFIXES,
    SegmentationDataset,
    files_by_id,
    find_folder,
    read_class_file,
    read_ids,
)
from tinyfcn.data.palette import VOC_PALETTE


class FolderSegmentation(SegmentationDataset):
    """Images and masks in two folders, matched by name without suffix.

    Args:
        root: the folder that holds both.
        split: name of a list ``<split>.txt`` in ``root``, one id a line; default all images,
            sorted by name.
        classes: class names; default those of ``classes.txt`` in ``root``, one a line.
        images, masks: names of the two folders.
        palette: colours for masks that are coded in RGB, uint8 (colours, 3): row k is the
            colour of class k.
    """

    def __init__(
        self,
        root: str | PathLike[str],
        split: str | None = None,
        classes: Sequence[str] | None = None,
        images: str = "images",
        masks: str = "masks",
        palette: NDArray[np.uint8] = VOC_PALETTE,
    ):
        self.root = find_folder(Path(root), f"a data set ({images}/, {masks}/ and classes.txt)")
        found = classes or read_class_file(self.root)
        if found is None:
            raise DataError(
                f"{self.root}: no class names; give them as classes, or write them "
                f"into {' or '.join(CLASS_FILES)} there, one a line, index 0 first"
            )
        image_files = files_by_id(self.root / images, "the images", IMAGE_SUFFIXES)
        super().__init__(
            ids=list(image_files) if split is None else read_ids(self.root / f"{split}.txt"),
            images=image_files,
            masks=files_by_id(self.root / masks, "the masks", IMAGE_SUFFIXES),
            classes=found,
            palette=palette,
            source=self.root / images if split is None else self.root / f"{split}.txt",
        )
