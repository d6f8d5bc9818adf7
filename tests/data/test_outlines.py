"""Outlines and runs, and the JSON files of labelme and COCO that hold them."""

from __future__ import annotations

import base64
import io
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tinyfcn.data import CocoSegmentation, DataError, LabelmeSegmentation, NoSplit
from tinyfcn.data.outlines import decode_runs, fill
from tinyfcn.training.datasets import open_dataset, open_datasets


def inside(corners: np.ndarray, x: Fraction, y: Fraction) -> bool:
    """Whether a ray from a point to the right crosses an outline an odd number of times."""
    crossings = 0
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        x0, y0, x1, y1 = map(Fraction, (x0, y0, x1, y1))
        if (y0 <= y) != (y1 <= y):
            crossings += x0 + (y - y0) * (x1 - x0) / (y1 - y0) > x
    return crossings % 2 == 1


@pytest.mark.parametrize("corners", [3, 4, 9])
def test_pixels_whose_centres_are_inside_are_filled(rng: np.random.Generator, corners: int) -> None:
    """Any outline, also across itself and beyond the borders; quarters hit centres and borders."""
    half = Fraction(1, 2)
    for _ in range(12):
        points = rng.integers(-20, 60, (corners, 2)) / 4
        mask = np.zeros((7, 9), np.uint8)
        fill(mask, "polygon", points, 3)
        for row, column in np.ndindex(7, 9):
            beyond = inside(points, column + half, row + half)
            assert (mask[row, column] == 3) == beyond, (points.tolist(), row, column)


def test_a_square_covers_its_area() -> None:
    mask = np.zeros((12, 12), np.uint8)
    fill(mask, "polygon", [1, 2, 11, 2, 11, 12, 1, 12], 1)
    assert mask.sum() == 100 and mask[2:12, 1:11].all()


@pytest.mark.parametrize("points", [[1, 2, 3, 4], [0, 0, 1, 1, np.nan, 2], [0, 0, 1, 1, 2], "abc"])
def test_what_is_no_outline_is_refused(points: Any) -> None:
    with pytest.raises(ValueError):
        fill(np.zeros((3, 3), np.uint8), "polygon", points, 1)


RUNS = (
    "i67n06K4L4M2N2N2N2O0O2O]ON01O30LO60J060I090F0:0F0:0F0:0F0:0F0:0F0:0G070J060J140M1O02c01N101N2N"
    "2N2N3L4L5JR<"
)


def test_runs_as_pycocotools_writes_them() -> None:
    """A frame with a hole, and a ring: written by pycocotools 2.0."""
    frame = np.zeros((5, 7), bool)
    frame[1:4, 2:6] = True
    frame[2, 3:5] = False
    np.testing.assert_array_equal(decode_runs(";32NO010O0124", 5, 7), frame)
    distance = sum((n - c) ** 2 for n, c in zip(np.mgrid[:40, :50], (20, 22), strict=True))
    np.testing.assert_array_equal(decode_runs(RUNS, 40, 50), (distance < 300) & (distance >= 64))


WRONG_RUNS = {
    "too few": [5, 3], "too many": [5, 30], "negative": [9, -3, 6], "a cut text": ";32NO010O0",
    "a text without end": "o" * 40, "nothing": [], "words": ["a"],
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG_RUNS)
def test_runs_of_another_size_are_refused(what: str) -> None:
    with pytest.raises(ValueError):
        decode_runs(WRONG_RUNS[what], 3, 4)


# labelme.


def shape(label: str, points: Any, kind: str = "polygon") -> dict[str, Any]:
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}}


def drawn(*shapes: dict[str, Any], image: str = "a.jpg") -> str:
    return json.dumps(
        {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": image, "imageData": None,
         "imageHeight": 6, "imageWidth": 8}
    )  # fmt: skip


IMAGE = np.zeros((6, 8, 3), np.uint8)
SQUARE = [[1, 1], [5, 1], [5, 5], [1, 5]]


def test_labelme(tmp_path: Path, folders: Any) -> None:
    files = {"a.jpg": IMAGE, "b.jpg": IMAGE, "not yet.jpg": IMAGE}
    files["a.json"] = drawn(
        shape("leaf", SQUARE), shape("bug", [[4, 4], [2, 2]], "rectangle"),
        shape("_background_", [[2, 2], [3, 2], [3, 3], [2, 3]]),
        shape("__ignore__", [[7, 0], [8, 0], [8, 6], [7, 6]]),
    )  # fmt: skip
    files["b.json"] = drawn(shape("bug", [[4.5, 3.5], [6.1, 3.5]], "circle"))
    root = folders.make(tmp_path, files)
    dataset = open_dataset(root, None)
    assert dataset.ids == ("a", "b") and dataset.classes == ("background", "bug", "leaf")
    assert dataset[0].mask.tolist() == [
        [0, 0, 0, 0, 0, 0, 0, 255],
        [0, 2, 2, 2, 2, 0, 0, 255],
        [0, 2, 0, 1, 2, 0, 0, 255],
        [0, 2, 1, 1, 2, 0, 0, 255],
        [0, 2, 2, 2, 2, 0, 0, 255],
        [0, 0, 0, 0, 0, 0, 0, 255],
    ]
    assert dataset[1].mask.sum() == 9 and dataset[1].mask[3, 3:6].all()
    assert dataset.notes[0].startswith("1 of 3 images, such as not yet, are in no JSON file, and ")
    training, validation = open_datasets(root)
    assert sorted(training.ids + validation.ids) == ["a", "b"]
    (root / "labels.txt").write_text("__ignore__\n_background_\nleaf\nbug\n")
    assert open_dataset(root, None)[1].mask.max() == 2
    with pytest.raises(DataError, match=r"without 'bug' .*/b.json\); classes=background,bug,leaf "):
        open_dataset(root, None, ["ground", "leaf"])
    assert open_dataset(root, None, ["leaf", "bug"]).classes == ("background", "leaf", "bug")
    other = open_dataset(root, None, ["leaf", "background", "bug"])[0].mask
    assert other[:3, 0:5].tolist() == [[1] * 5, [1, 0, 0, 0, 0], [1, 0, 1, 2, 0]]


def test_labelme_in_two_folders_with_lists(tmp_path: Path, folders: Any) -> None:
    files = {f"images/{name}.jpg": IMAGE for name in "ab"}
    files |= {f"labels/{name}.json": drawn(shape("cell", SQUARE)) for name in "ab"}
    root = folders.make(tmp_path, {**files, "train.txt": "b.jpg\r\n", "val.txt": "a\n"})
    training, validation = open_datasets(root)
    assert (training.ids, validation.ids) == (("b",), ("a",))
    assert training[0].mask.sum() == 16


def test_labelme_names_its_images(tmp_path: Path, folders: Any) -> None:
    """JSON files of other names, in another folder, as Windows has it."""
    files = {f"shots 7/{name}.jpg": IMAGE for name in "ab"}
    files["drawn/x_a.json"] = drawn(shape("cell", SQUARE), image="..\\shots 7\\a.jpg")
    files["drawn/x_b.json"] = drawn(image="../shots 7/b.jpg")
    dataset = open_dataset(folders.make(tmp_path, files), None)
    assert dataset.ids == ("shots 7/a", "shots 7/b")
    assert [sample.mask.sum() for sample in dataset] == [16, 0]
    folders.make(tmp_path, {"drawn/y.json": drawn(image="../shots 7/b.jpg")})
    with pytest.raises(DataError, match=r"one file for 'shots 7/b', got x_b.json and y.json$"):
        open_dataset(tmp_path, None)


def test_labelme_with_the_image_inside(tmp_path: Path, folders: Any) -> None:
    """The JSON file alone; without a size, and as old versions wrote it, without kinds."""
    text = io.BytesIO()
    Image.fromarray(IMAGE + np.uint8(9)).save(text, "PNG")
    content = json.loads(drawn(shape("cell", SQUARE), image="../a.jpg"))
    content |= {"imageData": base64.b64encode(text.getvalue()).decode(), "imageHeight": None}
    del content["shapes"][0]["shape_type"]
    root = folders.make(tmp_path, {"a.json": json.dumps(content), "b.jpg": IMAGE})
    sample = open_dataset(root, None)[0]
    assert (sample.id, sample.mask.sum()) == ("a", 16) and (sample.image == 9).all()
    with pytest.raises(DataError, match=r"a\.json: damaged"):
        folders.make(root, {"a.json": json.dumps(content | {"imageData": "abcd"})})
        open_dataset(root, None)[0]


BAD_LABELME = {
    "a line is not drawn": drawn(shape("x", [[0, 0], [1, 1]], "line")),
    "expected a file of labelme": '{"shapes": [{}]}',
    "x in a .*at least 3 corners": drawn(shape("x", [[0, 0], [1, 1]])),
    "x in a .*index 1": drawn(shape("x", [[0, 0]], "circle")),
    "x in a .*far from": drawn(shape("x", [[0, 0], [1, 1e300]], "circle")),
    "the image in a .*infinity": drawn().replace(": 6", ": Infinity"),
    "the image in a .*negative": drawn().replace(": 6", ": -6"),
    "the image in a .*more than the": drawn().replace(": 6", ": 99999999"),
    "expected a JSON file": '{"shapes": ',
    "no image file: c.jpg": drawn(shape("x", SQUARE), image="c.jpg"),
}


@pytest.mark.parametrize("what", BAD_LABELME)
def test_damaged_files_of_labelme_are_named(what: str, tmp_path: Path, folders: Any) -> None:
    name = "c" if "c.jpg" in what else "a"
    files = {"a.jpg": IMAGE, "b.jpg": IMAGE, "b.json": drawn(shape("x", SQUARE))}
    root = folders.make(tmp_path, {**files, f"{name}.json": BAD_LABELME[what]})
    where = "" if "c.jpg" in what else "a.json: "
    with pytest.raises((DataError, FileNotFoundError), match=rf"{where}.*{what}"):
        [*LabelmeSegmentation(root, classes=["background", "x"])]


# COCO.


def thing(number: int, category: int, drawn: Any, **more: Any) -> dict[str, Any]:
    return {"id": number, "image_id": 1, "category_id": category, "segmentation": drawn, **more}


def coco(*things: dict[str, Any], name: str = "a.jpg", **more: Any) -> str:
    content = {
        "images": [{"id": 1, "file_name": name, "height": 6, "width": 8}],
        "categories": [{"id": 7, "name": "leaf"}, {"id": 3, "name": "bug"}],
        "annotations": things,
    }
    return json.dumps({**content, **more})


def test_coco(tmp_path: Path, folders: Any) -> None:
    """Two polygons of one thing, a small one in the hole of runs, a crowd below, none in b."""
    hole = {"size": [6, 8], "counts": [7, 4, 2, 1, 2, 1, 2, 4, 25]}
    crowd = {"size": [6, 8], "counts": [42, 6]}
    annotations = coco(
        thing(1, 3, [[2, 2, 3, 2, 3, 3, 2, 3], [7, 5, 8, 5, 8, 6, 7, 6]], area=2),
        thing(2, 7, hole, area=10),
        thing(3, 3, [[1, 0, 4, 0, 4, 5, 1, 5]], area=15),
        thing(4, 7, crowd, area=1, iscrowd=1),
        images=[
            {"id": k, "file_name": f"{n}.jpg", "height": 6, "width": 8}
            for k, n in ((1, "a"), (2, "b"))
        ],
    )
    files = {f"images/{name}.jpg": IMAGE for name in "ab"}
    root = folders.make(tmp_path, {**files, "annotations/instances_default.json": annotations})
    with pytest.raises(FileNotFoundError, match="annotations: JSON files of COCO, but no images"):
        open_datasets(root / "annotations")
    dataset = open_dataset(root, None)
    assert dataset.classes == ("background", "bug", "leaf") and not dataset[1].mask.any()
    assert dataset[0].mask.tolist() == [
        [0, 1, 1, 1, 0, 0, 0, 2],
        [0, 2, 2, 2, 0, 0, 0, 2],
        [0, 2, 1, 2, 0, 0, 0, 2],
        [0, 2, 1, 2, 0, 0, 0, 2],
        [0, 2, 2, 2, 0, 0, 0, 2],
        [0, 0, 0, 0, 0, 0, 0, 1],
    ]
    training, validation = open_datasets(root)
    assert sorted(training.ids + validation.ids) == ["a", "b"]
    given = open_dataset(root, None, ["ground", "leaf", "bug"])
    assert given[0].mask[5, 7] == 2
    with pytest.raises(DataError, match=r"got ground, leaf; without 'bug' \(.*default.json"):
        open_dataset(root, None, ["ground", "leaf"])
    with pytest.raises(DataError, match="masks are drawn from outlines"):
        open_dataset(root, None, {0: "ground", 1: "leaf", 2: "bug"})


def test_coco_as_roboflow_and_cocodataset_lay_it_out(tmp_path: Path, folders: Any) -> None:
    square = [[1, 1, 5, 1, 5, 5, 1, 5]]
    categories = [{"id": 0, "name": "cells", "supercategory": "none"},
                  {"id": 1, "name": "cell", "supercategory": "cells"}]  # fmt: skip
    annotations = coco(thing(1, 1, square), categories=categories)
    files: dict[str, object] = {}
    for split in ("train", "valid", "test"):
        files |= {f"{split}/a.jpg": IMAGE, f"{split}/_annotations.coco.json": annotations}
    training, validation = open_datasets(folders.make(tmp_path / "roboflow", files))
    assert (training.ids, validation.ids) == (("train/a",), ("valid/a",))
    assert training.classes == ("background", "cell") and training[0].mask.sum() == 16
    files = {f"{split}2017/{name}.jpg": IMAGE for split, name in (("train", "a"), ("val", "b"))}
    for split, name in (("train", "a"), ("val", "b")):
        files[f"annotations/instances_{split}2017.json"] = coco(
            thing(1, 7, square), name=f"{name}.jpg"
        )
        files[f"annotations/person_keypoints_{split}2017.json"] = coco(thing(1, 7, square))
        files[f"annotations/captions_{split}2017.json"] = "{}"
    root = folders.make(tmp_path / "coco", files)
    training, validation = open_datasets(root)
    assert (training.ids, validation.ids) == (("train2017/a",), ("val2017/b",))
    with pytest.raises(NoSplit, match=r"tset.*no such list.*instances_train2017.json, instances"):
        CocoSegmentation(root, "tset")


def test_coco_with_lists(tmp_path: Path, folders: Any) -> None:
    """A list is followed; JSON files of something else are left alone."""
    images = [
        {"id": 7 * k, "file_name": f"upload/1/{n}.jpg", "height": 6, "width": 8}
        for k, n in enumerate("abcd")
    ]
    files: dict[str, object] = {f"images/{name}.jpg": IMAGE for name in "abcd"}
    files |= {"result.json": coco(images=images), "package.json": "[1]", "captions.json": "{}"}
    files |= {"train.txt": "images/d.jpg\r\nb\r\n", "ImageSets/Segmentation/val.txt": "c\n"}
    training, validation = open_datasets(folders.make(tmp_path, files))
    assert (training.ids, validation.ids) == (("d", "b"), ("c",))


def test_coco_with_the_same_names_in_two_folders(tmp_path: Path, folders: Any) -> None:
    files: dict[str, object] = {}
    for part, size in (("train2017", 2), ("val2017", 4)):
        files[f"images/{part}/1.jpg"] = IMAGE
        square = [[0, 0, size, 0, size, size, 0, size]]
        files[f"annotations/instances_{part}.json"] = coco(thing(1, 3, square), name="1.jpg")
    sets = open_datasets(folders.make(tmp_path, files))
    assert [dataset.ids for dataset in sets] == [("train2017/1",), ("val2017/1",)]
    assert [dataset[0].mask.sum() for dataset in sets] == [4, 16]


BAD_COCO = {
    "annotation 5 is a box": coco({**thing(5, 3, []), "bbox": [0, 0, 3, 3]}),
    "bug in a cannot be drawn .*corners, got 2": coco(thing(1, 3, [[1, 2, 3, 4]])),
    "bug in a .*far from": coco(thing(1, 3, [[1e300, 2, 3, 4, 5, 6]])),
    "bug in a .*too large": coco(thing(1, 3, {"counts": [10**30]})),
    "expected a file of COCO .*NoneType": coco(categories=[{"id": None, "name": "x"}]),
    "the image in a .*more than": coco().replace(": 6", ": 99999999"),
    "bug in a cannot be drawn .expected runs of 6 x 8": coco(thing(1, 3, {"counts": [5]})),
    "expected a file of COCO": coco(thing(1, 99, [[0, 0, 1, 0, 1, 1]])),
    "1 of 1 ids have no image file: b.jpg": coco(name="b.jpg"),
}


@pytest.mark.parametrize("what", BAD_COCO)
def test_damaged_files_of_coco_are_named(what: str, tmp_path: Path, folders: Any) -> None:
    root = folders.make(tmp_path, {"a.jpg": IMAGE, "annotations.json": BAD_COCO[what]})
    with pytest.raises((DataError, FileNotFoundError), match=what):
        [*CocoSegmentation(root)]
