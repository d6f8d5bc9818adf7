"""Masks whose values are not 0, 1, 2, …: what each stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tinyfcn.data import (
    ConcatDataset,
    DataError,
    FolderSegmentation,
    NoClassNames,
    VOCSegmentation,
    pairing,
    readers,
)
from tinyfcn.training import datasets
from tinyfcn.training.datasets import open_dataset, open_datasets

VALUES = np.array([[0, 7, 8], [11, 26, 255]], np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One image and its mask, in a VOC tree, which any reader of folders takes too."""
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (tmp_path / name).mkdir(parents=True)
    Image.new("RGB", (3, 2)).save(tmp_path / "JPEGImages" / "a.png")
    Image.fromarray(VALUES).save(tmp_path / "SegmentationClass" / "a.png")
    for split in ("train", "val"):
        (tmp_path / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("a\n")
    return tmp_path


@pytest.mark.parametrize("reader", [VOCSegmentation, FolderSegmentation])
@pytest.mark.parametrize(
    ("classes", "void", "names", "labels"),
    [
        ({7: "road", 8: "path"}, 255, "road path", [255, 0, 1, 255, 255, 255]),
        ({255: "cell", 0: "rest"}, 255, "cell rest", [1, 255, 255, 255, 255, 0]),
        ({8: "b", 7: "a", 26: "b", 11: "void"}, 255, "b a", [255, 1, 0, 255, 0, 255]),
        ({0: "a", 26: "b"}, 8, "a b", [0, 255, 255, 255, 1, 255]),
        ([*"abcdefghijkl"], 11, "a b c d e f g h i j k l", [0, 7, 8, 255, 26, 255]),
        ([*"abcdefgh"], 0, "a b c d e f g h", [255, 6, 7, 11, 26, 255]),
    ],
)
def test_values_and_their_labels(
    folder: Path, reader: type[VOCSegmentation | FolderSegmentation],
    classes: Mapping[int, str] | Sequence[str], void: int, names: str, labels: list[int],
) -> None:  # fmt: skip
    dataset = reader(folder, "train", classes, void=void)
    assert dataset.classes == tuple(names.split())
    assert dataset.labels(0).ravel().tolist() == labels
    np.testing.assert_array_equal(dataset.values(0), VALUES)
    both = ConcatDataset([dataset, dataset])
    np.testing.assert_array_equal(both.values(1), VALUES)
    if set(labels) <= {*range(len(dataset.classes)), 255}:
        assert both[1].mask.ravel().tolist() == labels
    else:  # what no name is for, though names were counted
        with pytest.raises(DataError, match=r"labels must be in \[0, \d+\) or 255 \(void\), got"):
            dataset[0]


@pytest.mark.parametrize(
    ("masks", "given", "names"),
    [
        ([0, 255], {}, "background foreground"),
        ([0, 1], {}, "background foreground"),
        ([0, 255], {"classes": ["cell"]}, "background cell"),
        ([0, 1], {"classes": ["cell"]}, "background cell"),
        ([0, 1], {"classes": ["a", "b"]}, ""),
        ([0, 1, 255], {"classes": ["a", "b"]}, ""),
        ([0, 255], {"classes": [*"abc"]}, ""),
        ([0, 255], {"classes": ["a", "b"], "void": 255}, ""),
        ([0], {"classes": ["a", "b"]}, ""),
        ([255], {"classes": ["a", "b"]}, "a b"),
        ([0, 1, 255], {}, None),
        ([0, 128], {}, None),
        ([255], {}, None),
        ([0, 255], {"void": 255}, None),
    ],
)
def test_what_is_black_and_white(
    tmp_path: Path, folders: Any, masks: list[int], given: dict[str, Any], names: str | None
) -> None:
    """A mask of each value; nothing is concluded from what can be meant otherwise."""
    files = {f"{part}/{value}.png": value for part in ("images", "masks") for value in masks}
    files |= {"images/damaged.png": 0, "masks/damaged.png": b"no picture"}
    root = folders.make(tmp_path, files)
    if names is None:
        with pytest.raises(NoClassNames):
            open_dataset(root, None, **given)
        return
    dataset = open_dataset(root, None, **given)
    assert dataset.classes == (tuple(names.split()) or tuple(given["classes"]))
    assert (dataset.table is not None, bool(dataset.notes)) == (bool(names), bool(names))
    if names:
        assert dataset.table is not None and dataset.table[masks].tolist() == [0, 1][-len(masks) :]


@pytest.mark.parametrize("val", [0, 255])
@pytest.mark.parametrize("classes", [None, ["a", "b"]])
def test_black_and_white_is_decided_once_for_both_lists(
    tmp_path: Path, folders: Any, val: int, classes: list[str] | None
) -> None:
    values = {"train/0": 0, "train/1": 255, "val/2": val}
    files = {f"{part}/{name}.png": values[name] for part in ("images", "masks") for name in values}
    both = open_datasets(folders.make(tmp_path, files), classes=classes)
    assert [part.labels(0).max() for part in both] == [0, val > 0]
    assert both[0].notes == both[1].notes != ()


def test_a_folder_is_searched_once(
    tmp_path: Path, folders: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it is opened again where neither list is there, and where nobody named classes."""
    searched: list[Path] = []
    found = pairing.find_pairs
    for module in (readers, datasets):
        monkeypatch.setattr(module, "find_pairs", lambda *a: (searched.append(a[0]), found(*a))[1])
    files = {f"{part}/{n}.png": n % 2 for part in ("images", "masks") for n in range(9)}
    training, validation = open_datasets(folders.make(tmp_path, files))
    assert searched == [tmp_path]
    held = f"{len(validation)} of 9 images are held out to score on, by a hash of their names"
    assert training.notes[0] == validation.notes[0] == held


def test_a_palette_is_not_greys(folder: Path) -> None:
    """Without mask values colours are those of the palette: 128 is the grey of class 7."""
    Image.new("RGB", (3, 2), (128, 128, 128)).save(folder / "SegmentationClass" / "a.png")
    assert VOCSegmentation(folder).values(0).max() == 7
    assert VOCSegmentation(folder, classes={0: "a", 128: "b"})[0].mask.max() == 1


def test_greys_that_no_palette_has_are_values(folder: Path) -> None:
    for colour, value in (((255, 255, 255), 255), ((3, 3, 3), 3)):
        Image.new("RGB", (3, 2), colour).save(folder / "SegmentationClass" / "a.png")
        assert VOCSegmentation(folder).values(0).tolist() == [[value] * 3] * 2
    Image.new("RGB", (3, 2), (3, 3, 4)).save(folder / "SegmentationClass" / "a.png")
    with pytest.raises(
        DataError, match=r"RGB \(3, 3, 4\).*; a labelmap.txt .* names other colours"
    ):
        VOCSegmentation(folder).values(0)


@pytest.mark.parametrize(
    ("classes", "void", "got"),
    [({0: "a", 256: "b"}, 255, "got 256"), ({-1: "a"}, 255, "got -1"), (["a"], 300, "got 300"),
     ({0: "a", 3: "b"}, 3, "got void 3")],
)  # fmt: skip
def test_values_that_cannot_be(
    folder: Path, classes: Mapping[int, str] | Sequence[str], void: int, got: str
) -> None:
    with pytest.raises(DataError, match=f"^mask values: expected each from 0 to 255.*{got}$"):
        FolderSegmentation(folder, "train", classes, void=void)
