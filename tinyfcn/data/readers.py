"""Readers of what lies on disk: Pascal VOC and its layout, SBD, and any folder of images and masks.

A reader finds the files of its ids; how they are read and checked stands in ``dataset.py``.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfcn.data.class_files import find_class_file
from tinyfcn.data.conventions import DataError, NoClassNames
from tinyfcn.data.dataset import Classes, SegmentationDataset
from tinyfcn.data.lists import ids_of
from tinyfcn.data.pairing import IMAGE_SUFFIXES, Found, files_below, find_pairs, read_name
from tinyfcn.data.palette import VOC_CLASSES, VOID
from tinyfcn.files import AnyPath, nearest, open_regular

__all__ = ["FolderSegmentation", "SBDSegmentation", "VOCSegmentation"]

Place = tuple[str, str, Sequence[str]]  # as for :func:`_find_tree`
VOC_NESTINGS = ("", "VOC20*", "VOCdevkit/VOC20*", "TrainVal/VOCdevkit/VOC20*")


class FolderSegmentation(SegmentationDataset):
    """Images and masks in a folder, paired by their names: see ``pairing.py`` for the rules.

    Args:
        root: the folder that holds both, or what :meth:`find` found in it.
        split: name of a list ``<split>.txt`` in ``root``, one id a line, or of a folder that the
            samples lie in; default all images, sorted by name.
        classes: class names, or a mapping of the masks' values to them, as for
            :class:`SegmentationDataset`; default those of a class file (``class_files.py``).
        palette: colours for masks that are coded in RGB, uint8 (colours, 3): row k is the
            colour of class k; default those of the class file, or VOC's.
        void: a value that is void, besides 255.

    Raises FileNotFoundError for a missing folder, list, image or mask, DataError for an empty list,
    unknown classes, or two files for one image or mask.
    """

    usual: Sequence[str] = ()  # classes where nothing names them
    folders: Sequence[str] = ()  # patterns of those to look in; else all
    place: Place = ("a data set (images/, masks/ and classes.txt)", "", ())

    def __init__(
        self,
        root: AnyPath | Found,
        split: str | None = None,
        classes: Classes | None = None,
        palette: NDArray[np.uint8] | None = None,
        void: int = VOID,
    ):
        self.root, files, labels = root if isinstance(root, Found) else self.find(Path(root))
        known, colours, others = find_class_file(self.root, classes)
        self.notes = (others,) if others else ()
        if not (classes := known or self.usual):
            raise NoClassNames(
                f"{self.root}: no class names; write them into classes.txt there, one a line, that "
                "of 0 first, or give them as classes"
            )
        ids, source = ids_of(self.root, split, files, labels)
        colours = colours if palette is None else palette
        super().__init__(ids, files, labels, classes, colours, source, void)

    @classmethod
    def find(cls, top: Path) -> Found:
        """Search a folder: once, if several of its lists are to be opened."""
        root = _find_tree(top, *cls.place)
        tops = [path for name in cls.folders for path in root.glob(name)]
        found = find_pairs(root, tops)
        if not found.images or not found.masks:
            kinds = Counter(path.suffix for path in root.rglob("*") if path.is_file())
            there = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(4))
            raise FileNotFoundError(
                f"{root}: {len(found.images)} images ({', '.join(IMAGE_SUFFIXES)}) in it and "
                f"below, and {len(found.masks)} masks, which should lie in a folder masks, labels "
                "or SegmentationClass, or beside their images as NAME_mask.png; there are "
                f"{there or 'no files'}{_of_both(root)}"
            )
        return found


class VOCSegmentation(FolderSegmentation):
    """Pascal VOC 2007 to 2012 (Everingham et al., IJCV 2010), and data sets in its layout::

        JPEGImages/<id>.jpg                 images (PNG too)
        SegmentationClass/<id>.png          palette PNGs of class indices, 255 = void
        ImageSets/Segmentation/<split>.txt  one id a line
        classes.txt                         class names, one a line, where they are not VOC's 21

    Args:
        root: the folder with JPEGImages, or one above it: ``VOCdevkit/VOC2012``,
            ``TrainVal/VOCdevkit/VOC2011`` (as the 2011 archive unpacks). Of several years the
            newest is taken, since each contains those before.
        split: name of a list in ImageSets/Segmentation: train, val, trainval, or one of your own;
            None takes all that have a mask.
        classes: class names, or a mapping of the masks' values to them, as for
            :class:`SegmentationDataset`; default those of a class file (``class_files.py``) beside
            JPEGImages, or VOC's 21.
        palette: colours for masks that are coded in RGB, uint8 (colours, 3); default those of the
            class file, or VOC's.
        void: a value that is void, besides 255.

    Masks of ``SegmentationClassAug`` are read for images that have none in ``SegmentationClass``.

    Raises FileNotFoundError for a missing root, list, image or mask, DataError for an empty
    list. The test split of VOC has no masks: they are kept at the evaluation server.
    """

    usual, folders = VOC_CLASSES, ("JPEGImages", "SegmentationClass*")
    place = "a VOC tree", "JPEGImages", VOC_NESTINGS

    def __init__(
        self,
        root: AnyPath | Found,
        split: str | None = "train",
        classes: Classes | None = None,
        palette: NDArray[np.uint8] | None = None,
        void: int = VOID,
    ):
        super().__init__(root, split, classes, palette=palette, void=void)


class SBDSegmentation(SegmentationDataset):
    """The Semantic Boundaries Dataset (Hariharan et al., ICCV 2011): masks for 11,355 VOC images.

    It unpacks to ``benchmark_RELEASE/dataset`` with ``img/<id>.jpg``, ``cls/<id>.mat`` and the
    lists ``train.txt`` and ``val.txt``. A .mat holds the struct ``GTcls``, whose field
    ``Segmentation`` is the mask: VOC's indices 0 to 20, without void.

    Its splits are not VOC's: to train on SBD and score on VOC's val, take what is not in val with
    :meth:`only`, else most of val is trained on.

    Args:
        root: the folder with ``img`` and ``cls``, or one above it (``dataset``,
            ``benchmark_RELEASE/dataset``).
        split: name of a list: train, val, or one of your own (``train_noval``).
        classes: class names; default VOC's 21.
    """

    def __init__(self, root: AnyPath, split: str = "train", classes: Sequence[str] = VOC_CLASSES):
        nestings = ("", "dataset", "benchmark_RELEASE/dataset")
        self.root = _find_tree(Path(root), "a tree of SBD", "cls", nestings)
        images = {path.stem: path for path in files_below(self.root / "img")}
        masks = {path.stem: path for path in files_below(self.root / "cls", (".mat",))}
        ids, source = ids_of(self.root, split, images, masks)
        super().__init__(ids, images, masks, classes, source=source)

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


def find_voc(root: Path) -> bool:
    """Whether a tree of VOC lies in a folder, with images and a list."""
    lists = _nested(root, VOC_NESTINGS, "ImageSets/Segmentation/*.txt")
    return any((path.parents[2] / "JPEGImages").is_dir() for path in lists)


def _nested(root: Path, nestings: Sequence[str], inside: str) -> Iterator[Path]:
    """What lies in the folders of some patterns, in their order; in those of one, the last by name
    comes first."""
    for nesting in nestings:
        yield from sorted(root.glob(str(Path(nesting, inside))), reverse=True)


def _of_both(folder: Path) -> str:
    """What an error ends with where the images alone were given, or the masks."""
    above = Path(os.path.normpath(folder / ".."))
    names = {path.resolve(): read_name(path / "a", above) for path in above.glob("*/")}
    roles = {path: name.role for path, name in names.items() if name.whole == "a"}
    both = folder.resolve() in roles and {"image", "mask"} <= {*roles.values()}
    return f"; {above} has folders of both: give that" if both else ""


def _find_tree(root: Path, what: str, inside: str, nestings: Sequence[str]) -> Path:
    """The folder that has the folder ``inside``, the first of :func:`_nested`; without patterns
    the root. Else FileNotFoundError, saying what should be there."""
    if not root.is_dir():
        raise FileNotFoundError(
            f"{root}: there is no such folder; {what} should lie there{nearest(root)}"
        )
    if not nestings:
        return root
    for path in _nested(root, nestings, inside):
        return path.parent
    below = ", ".join(nestings[1:]).replace("*", "xx")
    raise FileNotFoundError(
        f"{root}: not {what}; expected {inside} in this folder or in a folder {below} of it"
    )
