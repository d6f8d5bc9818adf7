"""What tools write of their classes: names, colours, and values in masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinyfcn.data import VOC_CLASSES, DataError, FolderSegmentation
from tinyfcn.training.datasets import open_dataset, open_datasets

LABELMAP = (
    "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncell: type a:51,221,255::\nvoid:9,9,9::\n"
)


def test_cvat(tmp_path: Path, folders: Any) -> None:
    """Segmentation mask 1.1: own colours, ``default.txt`` lists all."""
    colours = np.array([[[0, 0, 0], [51, 221, 255], [9, 9, 9], [51, 221, 255]]], np.uint8)
    files = {
        "labelmap.txt": LABELMAP.replace("\n", "\r\n"),
        "ImageSets/Segmentation/default.txt": "a\nb\n",
    }
    for name in "ab":
        files |= {f"JPEGImages/{name}.jpg": np.zeros((1, 4, 3), np.uint8)}
        files |= {f"SegmentationObject/{name}.png": 1, f"SegmentationClass/{name}.png": colours}
    training, validation = open_datasets(folders.make(tmp_path, files))
    assert (len(training), len(validation)) == (1, 1)
    assert training.classes == ("background", "cell: type a")
    assert training[0].mask.tolist() == [[0, 1, 255, 1]]
    files["SegmentationClass/a.png"] = colours + np.uint8(1)
    with pytest.raises(DataError, match=r"a.png: .*colour RGB \(1, 1, 1\) .* not in the palette"):
        [*open_dataset(folders.make(tmp_path, files), "default")]


@pytest.mark.parametrize("ignored", ["__ignore__\n", ""])
def test_labelme(ignored: str, tmp_path: Path, folders: Any) -> None:
    """labelme2voc: no lists, -1 is stored as 255."""
    files = {"class_names.txt": f"{ignored}_background_\nroad\n"}
    for name in "ab":
        files |= {f"JPEGImages/{name}.jpg": np.zeros((1, 3, 3), np.uint8)}
        files |= {f"SegmentationClassPNG/{name}.png": np.array([[0, 1, 255]], np.uint8)}
        files |= {
            f"SegmentationClassVisualization/{name}.jpg": 7,
            f"SegmentationClass/{name}.npy": "",
        }
    training, validation = open_datasets(folders.make(tmp_path, files))
    assert training.classes == ("background", "road")
    assert training[0].mask.tolist() == validation[0].mask.tolist() == [[0, 1, 255]]


@pytest.mark.parametrize(("high", "expected"), [(2, [0, 1, 2]), (9, [0, 1, 255])])
def test_roboflow(high: int, expected: list[int], tmp_path: Path, folders: Any) -> None:
    table = f"Pixel Value, Class\n0, background\n1, road\n{high}, street lamp, old\n"
    files: dict[str, object] = {"README.roboflow.txt": "a\n"}
    for split in ("train", "valid", "test"):
        name = f"{split}/a_jpg.rf.{split}0"
        files |= {f"{name}.jpg": np.zeros((1, 3, 3), np.uint8), f"{split}/_classes.csv": table}
        files |= {f"{name}_mask.png": np.array([[0, 1, 2]], np.uint8)}
    training, validation = open_datasets(folders.make(tmp_path, files))
    assert (training.ids, validation.ids) == (
        ("train/a_jpg.rf.train0",),
        ("valid/a_jpg.rf.valid0",),
    )
    assert training.classes == ("background", "road", "street lamp, old")
    assert training[0].mask.tolist() == [expected]
    given = open_dataset(tmp_path, "test", ["x", "y", "z"])
    assert given.classes == ("x", "y", "z") and given[0].mask.tolist() == [[0, 1, 2]]
    named = "names background, road, street lamp, old; the names that were given count"
    assert [note.rpartition("csv ")[2] for note in given.notes] == [named] and not training.notes


COLOURS = np.array([[[64, 128, 64], [192, 0, 128], [9, 9, 9]]], np.uint8)
TABLES = {
    "class_dict.csv": "name,r,g,b\nAnimal,64,128,64\nArch way,192,0,128\nVoid,9,9,9\n",
    "a_class_dict_seg.csv": "name, r, g, b\nAnimal, 64, 128, 64\nArch way, 192, 0, 128\nvoid,9,9,9",
    "label_colors.txt": "64 128 64\tAnimal\r\n192 0 128\t\tArch way\r\n9 9 9\tVoid\r\n",
    "labelmap.txt": "Animal: 64, 128, 64\nArch way:192,0,128\nignore:9,9,9::\n",
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_colours(name: str, tmp_path: Path, folders: Any) -> None:
    files = {"images/a.png": COLOURS, "masks/a.png": COLOURS, name: TABLES[name]}
    dataset = FolderSegmentation(folders.make(tmp_path, files))
    assert dataset.classes == ("Animal", "Arch way")
    assert dataset[0].mask.tolist() == [[0, 1, 255]]


def test_a_name_that_is_void(tmp_path: Path, folders: Any) -> None:
    values = np.array([[0, 1, 2, 255]], np.uint8)
    files = {"images/a.png": np.zeros((1, 4, 3), np.uint8), "masks/a.png": values}
    dataset = FolderSegmentation(folders.make(tmp_path, {**files, "classes.txt": "a\nvoid\nb"}))
    assert dataset.classes == ("a", "b") and dataset[0].mask.tolist() == [[0, 255, 1, 255]]


WRONG = {
    "labelmap.txt": ["road\n", "road:1,2\n", "road:1,2,256::\n", "a:1,2,3::\na:3,2,1::\n",
                     "a:1,2,3::\nb:1,2,3::\n", "void:1,2,3::\n", "#\n"],
    "class_dict.csv": ["", "name,r,g,b\n", "name,r,g,b\na,1,2\n", "a,1,2,256\n"],
    "label_colors.txt": ["1 2 3\n", "a 1 2 3\n"],
    "_classes.csv": ["Pixel Value, Class\n", "x\nroad\n", "x\n256, road\n", "x\n1, a\n1, b\n", ""],
    "class_names.txt": ["__ignore__\n", "a\na\n"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "text"), [(k, v) for k in WRONG for v in WRONG[k]])
def test_damaged_class_files_are_named(name: str, text: str, tmp_path: Path, folders: Any) -> None:
    root = folders.make(tmp_path, {"images/a.png": 1, "masks/a.png": 1, name: text})
    with pytest.raises(DataError, match=rf"{name}: (expected|class names must be distinct)"):
        FolderSegmentation(root)


def test_a_tree_of_voc_without_a_class_file_has_its_classes(tmp_path: Path, folders: Any) -> None:
    files = {
        "JPEGImages/a.jpg": 1,
        "SegmentationClass/a.png": 1,
        "ImageSets/Segmentation/x.txt": "a",
    }
    assert open_dataset(folders.make(tmp_path, files), "x").classes == VOC_CLASSES
