"""Reads Pascal VOC 2007 to 2012 (Everingham et al., IJCV 2010), and data sets in its layout::

JPEGImages/<id>.jpg                 images (PNG too)
SegmentationClass/<id>.png          palette PNGs of class indices, 255 = void
ImageSets/Segmentation/<split>.txt  one id a line
classes.txt                         class names, one a line, where they are not VOC's 21
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from tinyfcn.data.dataset import (
    IMAGE_SUFFIXES,
    SegmentationDataset,
    files_by_id,
    find_tree,
    read_class_file,
    read_ids,
)
from tinyfcn.data.palette import VOC_CLASSES, VOC_PALETTE

_LISTS = "ImageSets/Segmentation"
_NESTINGS = ("VOC20*", "VOCdevkit/VOC20*", "TrainVal/VOCdevkit/VOC20*")


class VOCSegmentation(SegmentationDataset):
    """The images of one split and their masks.

    Args:
        root: the folder with JPEGImages, or one above it: ``VOCdevkit/VOC2012``,
            ``TrainVal/VOCdevkit/VOC2011`` (as the 2011 archive unpacks). Of several years the
            newest is taken, since each contains those before.
        split: name of a list in ImageSets/Segmentation: train, val, trainval, or one of your own.
        classes: class names; default those of ``classes.txt`` beside JPEGImages, or VOC's 21.
        palette: colours for masks that are coded in RGB, uint8 (colours, 3).

    Raises FileNotFoundError for a missing root, list, image or mask, DataError for an empty
    list. The test split of VOC has no masks: they are kept at the evaluation server.
    """

    def __init__(
        self,
        root: str | PathLike[str],
        split: str = "train",
        classes: Sequence[str] | None = None,
        palette: NDArray[np.uint8] = VOC_PALETTE,
    ):
        self.root = find_tree(root, "a VOC tree", _LISTS, _NESTINGS)
        listing = self.root / _LISTS / f"{split}.txt"
        super().__init__(
            ids=read_ids(listing),
            images=files_by_id(self.root / "JPEGImages", "the images", IMAGE_SUFFIXES),
            masks=files_by_id(self.root / "SegmentationClass", "the masks", (".png",)),
            classes=classes or read_class_file(self.root) or VOC_CLASSES,
            palette=palette,
            source=listing,
        )
