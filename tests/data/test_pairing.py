"""Folders as people have them: which file is the image of which mask, and of which split."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pytest

from tinyfcn.data import DataError, FolderSegmentation, VOCSegmentation
from tinyfcn.training.datasets import open_dataset

CLASSES = [f"class {number}" for number in range(10)]


# Each has image 40 with mask 4 and image 70 with mask 7, under the names behind it.
LAYOUTS: dict[str, tuple[dict[str, object], tuple[str, str]]] = {
    "images and labels": (
        {"images/a.png": 40, "images/b.jpg": 70, "labels/a.png": 4, "labels/b.png": 7}, ("a", "b"),
    ),
    "a suffix": (
        {"images/a.jpg": 40, "images/b.jpg": 70, "labels/a_mask.png": 4, "labels/b_mask.png": 7},
        ("a", "b"),
    ),
    "other suffixes": (
        {"img/a.JPG": 40, "img/b.jpg": 70, "gt/a_seg.PNG": 4, "gt/b-label.png": 7}, ("a", "b"),
    ),
    "a prefix on both": (
        {"images/img_1.jpg": 40, "images/img_2.jpg": 70, "masks/mask_1.png": 4,
         "masks/mask_2.png": 7},
        ("img_1", "img_2"),
    ),
    "suffixes on both": (
        {"d/a_sat.jpg": 40, "d/a_mask.png": 4, "d/b_sat.jpg": 70, "d/b_mask.png": 7},
        ("d/a_sat", "d/b_sat"),
    ),
    "side by side": (
        {"a.jpg": 40, "a_mask.png": 4, "b.jpg": 70, "b_mask.png": 7}, ("a", "b"),
    ),
    "side by side, told by the ending": (
        {"a.jpg": 40, "a.png": 4, "b.jpeg": 70, "b.png": 7}, ("a", "b"),
    ),
    "side by side in a folder of images": (
        {"images/a.png": 40, "images/a_mask.png": 4, "images/b.png": 70, "images/b_mask.png": 7},
        ("a", "b"),
    ),
    "sub-folders": (
        {"images/x/1.jpg": 40, "images/y/1.jpg": 70, "masks/x/1.png": 4, "masks/y/1.png": 7},
        ("x/1", "y/1"),
    ),
    "a folder each": (
        {"1/image.png": 40, "1/mask.png": 4, "2/image.png": 70, "2/mask.png": 7},
        ("1/image", "2/image"),
    ),
    "CamVid": (
        {"train/a.png": 40, "trainannot/a.png": 4, "val/b.png": 70, "valannot/b.png": 7},
        ("train/a", "val/b"),
    ),
    "Cityscapes": (
        {
            "leftImg8bit/train/ulm/ulm_1_leftImg8bit.png": 40,
            "leftImg8bit/val/ulm/ulm_2_leftImg8bit.png": 70,
            **{f"gtFine/{s}/ulm/ulm_{k}_gtFine_{what}.png": value
               for s, k, label in (("train", 1, 4), ("val", 2, 7))
               for what, value in (("labelIds", label), ("instanceIds", 9), ("color", 9))},
        },
        ("train/ulm/ulm_1_leftImg8bit", "val/ulm/ulm_2_leftImg8bit"),
    ),
    "labelme": (
        {
            "JPEGImages/a.jpg": 40, "JPEGImages/b.jpg": 70,
            **{f"Segmentation{what}/{name}.png": value
               for name, label in (("a", 4), ("b", 7))
               for what, value in (("ClassPNG", label), ("ClassVisualization", 9), ("Object", 1))},
        },
        ("a", "b"),
    ),
    "ISIC, folders of any name": (
        {"Task1-2_Input/a.jpg": 40, "Task1-2_Input/b.jpg": 70,
         "Task1_GroundTruth/a_segmentation.png": 4, "Task1_GroundTruth/b_segmentation.png": 7},
        ("Task1-2_Input/a", "Task1-2_Input/b"),
    ),
    "CamVid in colours": (
        {"701_StillsRaw_full/a.png": 40, "701_StillsRaw_full/b.png": 70,
         "LabeledApproved_full/a_L.png": 4, "LabeledApproved_full/b_L.png": 7},
        ("701_StillsRaw_full/a", "701_StillsRaw_full/b"),
    ),
    "pets, and masks deeper": (
        {"images/a.jpg": 40, "images/b.jpg": 70, "annotations/trimaps/a.png": 4,
         "annotations/trimaps/b.gif": 7},
        ("a", "b"),
    ),
    "MMSegmentation": (
        {"img_dir/train/a.png": 40, "ann_dir/train/a.png": 4, "img_dir/val/b.png": 70,
         "ann_dir/val/b.png": 7, "ann_colored/val/b.png": 1},
        ("dir/train/a", "dir/val/b"),
    ),
    "words within names": (
        {"images/face_mask_1.jpg": 40, "images/label.jpg": 70, "masks/face_mask_1.png": 4,
         "masks/label.png": 7},
        ("face_mask_1", "label"),
    ),
    "blanks and dots": (
        {"Images/my cat.v1.jpg": 40, "Images/my cat.v2.jpg": 70, "Ground Truth/my cat.v1.png": 4,
         "Ground Truth/my cat.v2.png": 7},
        ("my cat.v1", "my cat.v2"),
    ),
    "what does not belong to it": (
        {"images/a.jpg": 40, "images/b.jpg": 70, "labels/a.png": 4, "labels/b.png": 7,
         "logo.png": 1, "runs/1/run.lock": "", "runs/1/predictions.png": 1, "README.txt": "a",
         "__MACOSX/images/._a.jpg": "x", ".cache/a.png": 1, "predictions/a.png": 3},
        ("a", "b"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_images_find_their_masks(layout: str, tmp_path: Path, folders: Any) -> None:
    files, (first, second) = LAYOUTS[layout]
    dataset = open_dataset(folders.make(tmp_path, files), None, CLASSES)
    assert folders.pairs(dataset) == {first: (40, 4), second: (70, 7)}


def test_the_two_forms_of_an_umlaut_are_one(tmp_path: Path, folders: Any) -> None:
    composed, apart = (unicodedata.normalize(form, "Zürich") for form in ("NFC", "NFD"))
    files = {f"images/{apart}.jpg": 40, f"masks/{composed}.png": 4, "train.txt": f"{apart}\n"}
    assert folders.pairs(open_dataset(folders.make(tmp_path, files), "train", CLASSES)) == {
        composed: (40, 4)
    }


def test_the_mask_with_a_border_is_taken_before_that_of_sbd(tmp_path: Path, folders: Any) -> None:
    files = {
        "JPEGImages/a.jpg": 40, "JPEGImages/b.jpg": 70, "SegmentationClass/a.png": 4,
        "SegmentationClassAug/a.png": 5, "SegmentationClassAug/b.png": 7,
        "ImageSets/Segmentation/train_aug.txt":
            "/JPEGImages/a.jpg /SegmentationClassAug/b.png\nb.jpg SegmentationClassAug/b.png",
    }  # fmt: skip
    dataset = VOCSegmentation(folders.make(tmp_path, files), "train_aug")
    assert folders.pairs(dataset) == {"a": (40, 7), "b": (70, 7)}  # the list names the mask
    (tmp_path / "ImageSets/Segmentation/train_aug.txt").write_text("a\nb\n")
    assert folders.pairs(VOCSegmentation(tmp_path, "train_aug")) == {"a": (40, 4), "b": (70, 7)}


AMBIGUOUS = {
    "two images": {"images/a.jpg": 1, "images/a.png": 1, "masks/a.png": 1},
    "two masks": {"images/a.jpg": 1, "masks/a_mask.png": 1, "masks/mask-a.png": 1},
    "two endings": {"images/a.jpg": 1, "masks/a.bmp": 1, "masks/a.png": 1},
    "a mask of each class": {"images/a.jpg": 1, "masks/cat/a.png": 1, "masks/dog/a.png": 1},
}


@pytest.mark.parametrize("what", AMBIGUOUS)
def test_what_could_be_either_is_refused(what: str, tmp_path: Path, folders: Any) -> None:
    with pytest.raises(DataError, match=r"expected one file for 'a', got .*a"):
        FolderSegmentation(folders.make(tmp_path, AMBIGUOUS[what]), classes=CLASSES)


def test_what_is_missing_is_said_with_what_is_there(tmp_path: Path, folders: Any) -> None:
    with pytest.raises(
        FileNotFoundError,
        match=r"0 images \(\.jpg, .*\.gif\) in it and below.*; there are no files",
    ):
        FolderSegmentation(tmp_path, classes=CLASSES)
    folders.make(tmp_path, {"images/cell_01.jpg": 1, "images/cell_02.jpg": 1})
    with pytest.raises(
        FileNotFoundError,
        match=r"2 images .* 0 masks, which should lie in .*masks, .* there are 2 .jpg$",
    ):
        FolderSegmentation(tmp_path, classes=CLASSES)
    folders.make(tmp_path, {"masks/cell-01.png": 1, "masks/cell_02.png": 1})
    for folder, words in (
        ("images", f"; {tmp_path} has folders of both: give that"),
        ("image", f"should lie there; the nearest is {tmp_path / 'images'}"),
    ):
        with pytest.raises(FileNotFoundError, match=f"{words}$"):
            FolderSegmentation(tmp_path / folder, classes=CLASSES)
    with pytest.raises(
        FileNotFoundError,
        match=r"1 of 2 ids have no mask file: cell_01; .*masks has 2 \(\.png\).*nearest is cell",
    ):
        FolderSegmentation(tmp_path, classes=CLASSES)
    folders.make(tmp_path, {f"masks/{name}.png": 1 for name in "abc"})
    (tmp_path / "masks/cell_02.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"cell-01.png; if each object .* join those of"):
        FolderSegmentation(tmp_path, classes=CLASSES)
    folders.make(tmp_path, {"train.txt": "cell_2\n"})
    with pytest.raises(
        FileNotFoundError,
        match=r"train.txt: 1 of 1 ids have no image .*images has 2 \(\.jpg\); .*is cell_02.jpg",
    ):
        FolderSegmentation(tmp_path, "train", classes=CLASSES)
