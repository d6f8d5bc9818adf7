"""Readers of what lies on disk: Pascal VOC and its layout, SBD, and any folder of images and masks.

A reader finds the files of its ids; how they are read and checked stands in ``dataset.py``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfcn.data.conventions import DataError, check_classes
from tinyfcn.data.dataset import Classes, SegmentationDataset
from tinyfcn.data.palette import VOC_CLASSES, VOC_PALETTE, VOID
from tinyfcn.files import open_regular

__all__ = ["FolderSegmentation", "SBDSegmentation", "VOCSegmentation"]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
CLASS_FILES = ("classes.txt", "labels.txt")
MOST_BYTES = 16 << 20  # of a list: a million names of usual length


class VOCSegmentation(SegmentationDataset):
    """Pascal VOC 2007 to 2012 (Everingham et al., IJCV 2010), and data sets in its layout::

        JPEGImages/<id>.jpg                 images (PNG too)
        SegmentationClass/<id>.png          palette PNGs of class indices, 255 = void
        ImageSets/Segmentation/<split>.txt  one id a line
        classes.txt                         class names, one a line, where they are not VOC's 21

    Args:
        root: the folder with JPEGImages, or one above it: ``VOCdevkit/VOC2012``,
            ``TrainVal/VOCdevkit/VOC2011`` (as the 2011 archive unpacks). Of several years the
            newest is taken, since each contains those before.
        split: name of a list in ImageSets/Segmentation: train, val, trainval, or one of your own.
        classes: class names, or a mapping of the masks' values to them, as for
            :class:`SegmentationDataset`; default those of ``classes.txt`` beside JPEGImages, or
            VOC's 21.
        palette: colours for masks that are coded in RGB, uint8 (colours, 3).
        void: a value that is void, besides 255.

    Raises FileNotFoundError for a missing root, list, image or mask, DataError for an empty
    list. The test split of VOC has no masks: they are kept at the evaluation server.
    """

    def __init__(
        self,
        root: str | PathLike[str],
        split: str = "train",
        classes: Classes | None = None,
        palette: NDArray[np.uint8] = VOC_PALETTE,
        void: int = VOID,
    ):
        nestings = ("VOC20*", "VOCdevkit/VOC20*", "TrainVal/VOCdevkit/VOC20*")
        self.root = _find_tree(root, "a VOC tree", "ImageSets/Segmentation", nestings)
        listing = self.root / "ImageSets" / "Segmentation" / f"{split}.txt"
        super().__init__(
            ids=_read_ids(listing),
            images=_files_by_id(self.root / "JPEGImages", "the images", IMAGE_SUFFIXES),
            masks=_files_by_id(self.root / "SegmentationClass", "the masks", (".png",)),
            classes=classes or _read_class_file(self.root) or VOC_CLASSES,
            palette=palette,
            source=listing,
            void=void,
        )


class SBDSegmentation(SegmentationDataset):
    """The Semantic Boundaries Dataset (Hariharan et al., ICCV 2011): masks for 11,355 VOC images.

    It unpacks to ``benchmark_RELEASE/dataset`` with ``img/<id>.jpg``, ``cls/<id>.mat`` and the
    lists ``train.txt`` and ``val.txt``. A .mat holds the struct ``GTcls``, whose field
    ``Segmentation`` is the mask: VOC's indices 0 to 20, without void.

    Its splits are not VOC's: to train on SBD and score on VOC's val, pass val's ids as ``exclude``,
    else most of val is trained on.

    Args:
        root: the folder with ``img`` and ``cls``, or one above it (``dataset``,
            ``benchmark_RELEASE/dataset``).
        split: name of a list: train, val, or one of your own (``train_noval``).
        classes: class names; default VOC's 21.
        exclude: ids to leave out, such as those of VOC's val.
    """

    def __init__(
        self,
        root: str | PathLike[str],
        split: str = "train",
        classes: Sequence[str] | None = None,
        exclude: Iterable[str] = (),
    ):
        nestings = ("dataset", "benchmark_RELEASE/dataset")
        self.root = _find_tree(root, "a tree of SBD", "cls", nestings)
        listing = self.root / f"{split}.txt"
        excluded = set(exclude)
        super().__init__(
            ids=[name for name in _read_ids(listing) if name not in excluded],
            images=_files_by_id(self.root / "img", "the images", (".jpg",)),
            masks=_files_by_id(self.root / "cls", "the masks", (".mat",)),
            classes=classes or VOC_CLASSES,
            source=f"{listing} (excluded ids left out)" if excluded else listing,
        )

    def read_mask(self, path: Path) -> NDArray[np.uint8]:
        """The field Segmentation of GTcls in a .mat file, uint8 (H, W)."""
        from tinyfcn.weights import mat  # here, because weights know of data

        try:
            open_regular(path).close()
            truth: Any = mat.read(path)["GTcls"]
            return np.ascontiguousarray(truth[0]["Segmentation"])
        except FileNotFoundError:
            raise
        except (IndexError, KeyError, OSError, TypeError, ValueError) as error:
            raise DataError(
                f"{path}: expected a MATLAB file with GTcls.Segmentation "
                f"({type(error).__name__}: {error})"
            ) from error


class FolderSegmentation(SegmentationDataset):
    """Images and masks in two folders: files of one name without suffix are a sample.

    Args:
        root: the folder that holds both.
        split: name of a list ``<split>.txt`` in ``root``, one id a line; default all images,
            sorted by name.
        classes: class names, or a mapping of the masks' values to them, as for
            :class:`SegmentationDataset`; default those of ``classes.txt`` in ``root``, one a line.
        images, masks: names of the two folders.
        palette: colours for masks that are coded in RGB, uint8 (colours, 3): row k is the
            colour of class k.
        void: a value that is void, besides 255.
    """

    def __init__(
        self,
        root: str | PathLike[str],
        split: str | None = None,
        classes: Classes | None = None,
        images: str = "images",
        masks: str = "masks",
        palette: NDArray[np.uint8] = VOC_PALETTE,
        void: int = VOID,
    ):
        self.root = _find_folder(Path(root), f"a data set ({images}/, {masks}/ and classes.txt)")
        found = classes or _read_class_file(self.root)
        if found is None:
            raise DataError(
                f"{self.root}: no class names; give them as classes, or write them "
                f"into {' or '.join(CLASS_FILES)} there, one a line, index 0 first"
            )
        image_files = _files_by_id(self.root / images, "the images", IMAGE_SUFFIXES)
        listing = self.root / (images if split is None else f"{split}.txt")
        super().__init__(
            ids=list(image_files) if split is None else _read_ids(listing),
            images=image_files,
            masks=_files_by_id(self.root / masks, "the masks", IMAGE_SUFFIXES),
            classes=found,
            palette=palette,
            source=listing,
            void=void,
        )


def read_lines(path: Path) -> tuple[str, ...]:
    """The lines of a text file without surrounding blanks and empty lines: ids, or class names."""
    with open_regular(path) as file:
        data = file.read(MOST_BYTES + 1)
    try:
        lines = tuple(filter(None, map(str.strip, data.decode("utf-8-sig").splitlines())))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected a text file in UTF-8 ({error})") from error
    wrong = [line for line in lines if not re.fullmatch("[^\0-\x1f\x7f-\x9f]{1,255}", line)]
    if wrong or len(data) > MOST_BYTES:
        raise DataError(
            f"{path}: expected a name of at most 255 characters a line, none of them a control "
            f"character, and {MOST_BYTES:,} bytes at most, got {(wrong or ['more'])[0][:40]!r}"
        )
    return lines


def _read_ids(path: Path) -> tuple[str, ...]:
    """The image ids of a list, one a line; FileNotFoundError if it is not there."""
    if not path.exists():
        there = sorted({file.name for file in path.parent.glob("*.txt")} - {*CLASS_FILES})
        raise FileNotFoundError(
            f"{path}: there is no such list; image ids should lie there, one a line "
            f"(lists there: {', '.join(there) or 'none'})"
        )
    return read_lines(path)


def _read_class_file(folder: Path) -> tuple[str, ...] | None:
    """Class names, one a line, from ``classes.txt`` or ``labels.txt`` of a folder, if there."""
    for path in (folder / name for name in CLASS_FILES):
        if path.exists():
            classes = read_lines(path)
            check_classes(classes, path)
            return classes
    return None


def _find_folder(path: Path, what: str) -> Path:
    """``path`` if it is a folder, else FileNotFoundError that says what should lie there."""
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: there is no such folder; {what} should lie there")
    return path


def _find_tree(root: str | PathLike[str], what: str, inside: str, nestings: Sequence[str]) -> Path:
    """The folder that has the folder ``inside``: ``root``, or one below it, or FileNotFoundError.

    ``nestings`` are the patterns of its path below ``root``; of several, the last by name is taken.
    """
    top = _find_folder(Path(root), what)
    for folders in ([top], *(sorted(top.glob(nesting)) for nesting in nestings)):
        found = [folder for folder in folders if (folder / inside).is_dir()]
        if found:
            return found[-1]
    below = ", ".join(nestings).replace("*", "xx")
    raise FileNotFoundError(
        f"{top}: not {what}; expected {inside} in this folder or in a folder {below} of it"
    )


def _files_by_id(folder: Path, what: str, suffixes: Collection[str]) -> dict[str, Path]:
    """The files of a folder by name without suffix; two files of one name are rejected."""
    files: dict[str, Path] = {}
    for path in sorted(_find_folder(folder, what).iterdir()):
        if path.suffix.lower() in suffixes and not path.name.startswith("."):
            if path.stem in files:
                raise DataError(
                    f"{folder}: expected one file for {path.stem!r}, "
                    f"got {files[path.stem].name} and {path.name}"
                )
            files[path.stem] = path
    return files
