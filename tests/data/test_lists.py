"""Which samples a split has: what lines of lists mean, folders, and what is held out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinyfcn.data import DataError, NoSplit, held_out
from tinyfcn.training.datasets import open_dataset, open_datasets

CLASSES = [f"class {number}" for number in range(10)]
IMAGES = {"images/a.jpg": 40, "images/b.jpg": 70, "labels/a.png": 4, "labels/b.png": 7}
LISTS = {
    "ids": "b\na\n",
    "endings": "b.jpg\na.jpg\n",
    "of Windows": "\ufeffb.jpg\r\na.jpg\r\n\r\n",
    "of PowerShell": "\ufeffb\r\na\r\n".encode("utf-16-le"),
    "of a script on Windows": "images\\b.jpg\r\nimages\\a.jpg\r\n",
    "folders": "images/b.jpg\n./images/a.jpg\n",
    "folders of another machine": "/home/me/data/images/b.jpg\nC:\\data\\images\\a.jpg\n",
    "two columns": "images/b.jpg labels/b.png\nimages/a.jpg labels/a.png\n",
    "two columns of another machine": "/x/images/b.jpg /x/labels/b.png\n/x/a.jpg\t/x/a.png",
    "a table": "b.jpg,b.png\na.jpg, a.png\n",
    "VOC's lists of a class": "b -1\na  1\n",
    "numbers behind": "b 2 2 1\na 1 1 1\n",
    "masks": "labels/b.png\nlabels/a.png\n",
}  # fmt: skip


@pytest.mark.parametrize("what", LISTS)
@pytest.mark.parametrize(
    "place", ["train.txt", "ImageSets/Segmentation/Train.txt", "list/training.txt"]
)
def test_lines_of_lists(what: str, place: str, tmp_path: Path, folders: Any) -> None:
    dataset = open_dataset(folders.make(tmp_path, {**IMAGES, place: LISTS[what]}), "train", CLASSES)
    assert [*folders.pairs(dataset).items()] == [("b", (70, 7)), ("a", (40, 4))]


def test_a_list_may_lie_elsewhere(tmp_path: Path, folders: Any) -> None:
    root = folders.make(tmp_path / "data", IMAGES)
    folders.make(tmp_path, {"run/val.txt": "b\n"})
    assert open_dataset(root, str(tmp_path / "run/val.txt"), CLASSES).ids == ("b",)


def test_names_with_blanks(tmp_path: Path, folders: Any) -> None:
    files = {f"{part}/scan {k}.png": k for part in ("images", "masks") for k in (1, 2)}
    root = folders.make(tmp_path, {**files, "train.txt": "scan 2.png\nscan 1\n"})
    assert folders.pairs(open_dataset(root, "train", CLASSES)) == {
        "scan 2": (2, 2),
        "scan 1": (1, 1),
    }


def test_names_without_folders_where_there_are_folders(tmp_path: Path, folders: Any) -> None:
    files = {
        f"{part}/{name}.png": 1 for part in ("images", "masks") for name in ("x/1", "y/1", "y/2")
    }
    root = folders.make(
        tmp_path, {**files, "train.txt": "2\nx/1\n", "val.txt": "1\n", "test.txt": "z/2"}
    )
    assert open_dataset(root, "train", CLASSES).ids == ("y/2", "x/1")
    for split in ("val", "test"):
        with pytest.raises(FileNotFoundError, match="1 of 1 ids have no image file"):
            open_dataset(root, split, CLASSES)


def test_a_column_may_name_a_mask_of_another_name(tmp_path: Path, folders: Any) -> None:
    files = {"images/a.jpg": 40, "masks/old/a.png": 1, "masks/other.png": 4}
    root = folders.make(tmp_path, {**files, "train.txt": "images/a.jpg masks/other.png"})
    assert folders.pairs(open_dataset(root, "train", CLASSES)) == {"a": (40, 4)}


def test_two_lines_of_one_image_are_refused(tmp_path: Path, folders: Any) -> None:
    root = folders.make(tmp_path, {**IMAGES, "train.txt": "a\na.jpg\n"})
    with pytest.raises(
        DataError, match=r"train.txt: 'a' and 'a.jpg' are one image, .*images/a.jpg"
    ):
        open_dataset(root, "train", CLASSES)


# No lists.


def scored(root: Path, **options: object) -> tuple[tuple[str, ...], tuple[str, ...]]:
    training, validation = open_datasets(root, classes=CLASSES, **options)
    return training.ids, validation.ids


def many(folders: Any, root: Path, names: list[str], **more: object) -> Path:
    return folders.make(
        root, {f"{part}/{n}.png": 1 for part in ("images", "masks") for n in names} | more
    )


def test_without_lists_a_fifth_is_held_out_and_stays_so(tmp_path: Path, folders: Any) -> None:
    names = [f"img_{number:03}" for number in range(100)]
    training, validation = scored(many(folders, tmp_path, names[:60]))
    assert not {*training} & {*validation} and {*training, *validation} == {*names[:60]}
    later, added = scored(many(folders, tmp_path, names))
    assert {*validation} <= {*added} and {*training} <= {*later}
    assert 10 <= len(added) <= 30
    assert 35 <= len(scored(tmp_path, val_share=0.5)[1]) <= 65


def test_the_rule_is_a_hash_of_the_name() -> None:
    """What ``printf a | sha256sum`` begins with: ca, 3e, 2e, 18, 3f, 25, cd, aa, of 100."""
    assert held_out("abcdefgh", 0x30 / 0x100) == {"c", "d", "f"}
    assert held_out(["a/x", "b/x", "b/y", "h/x"], 0x40 / 0x100, by_folder=True) == {"b/x", "b/y"}


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_few_images_are_on_both_sides(share: float) -> None:
    assert all(0 < len(held_out([*map(str, range(n))], share)) < n for n in range(2, 9))
    with pytest.raises(DataError, match=r"one image, only\.jpg: expected two"):
        held_out(["only.jpg"], share)


def test_few_images_are_shared_about_as_asked(rng: np.random.Generator) -> None:
    """A third to twice as many as asked for; from about a hundred on the rule alone is near."""
    for count, least, most in ((6, 1, 2), (12, 1, 5), (20, 1, 8), (100, 7, 40)):
        names = [[str(n) for n in rng.integers(0, 1 << 60, count)] for _ in range(60)]
        assert all(least <= len(held_out(ids, 0.2)) <= most for ids in names)


def test_folders_are_kept_together(tmp_path: Path, folders: Any) -> None:
    names = [f"patient {patient}/{number}" for patient in range(9) for number in range(3)]
    training, validation = scored(many(folders, tmp_path, names), by_folder=True, val_share=0.4)
    sides = [{name.partition("/")[0] for name in ids} for ids in (training, validation)]
    assert not sides[0] & sides[1] and len(training) + len(validation) == 27
    with pytest.raises(DataError, match="one folder"):
        held_out(["a", "b"], 0.2, by_folder=True)


@pytest.mark.parametrize(
    "names", [("train", "val"), ("training", "validation"), ("Train", "valid")]
)
def test_folders_are_splits(names: tuple[str, str], tmp_path: Path, folders: Any) -> None:
    root = many(folders, tmp_path, [f"{folder}/{k}" for folder in (*names, "test") for k in (1, 2)])
    for ids, folder in zip(scored(root), names, strict=True):
        assert ids == (f"{folder}/1", f"{folder}/2")


def test_a_list_of_all_is_shared(tmp_path: Path, folders: Any) -> None:
    names = [*"abcdefghij"]
    root = many(folders, tmp_path, names)
    folders.make(root, {"ImageSets/Segmentation/default.txt": "\n".join(names[:8])})
    training, validation = scored(root)
    assert sorted(training + validation) == names[:8]
    folders.make(root, {"train.txt": "\n".join(names)})
    training, validation = scored(root)
    assert sorted(training + validation) == names


def test_folders_that_are_there_are_named(tmp_path: Path, folders: Any) -> None:
    files = {f"{s}/{part}/{n}.png": 0 for s in ("train", "test") for part in ("images", "masks")
             for n in "ab"}  # fmt: skip
    with pytest.raises(NoSplit, match=r"val.txt: .* \(lists there: test/, train/; train_split and"):
        open_dataset(folders.make(tmp_path, files), "val", CLASSES)


REFUSED = {
    "a list to train on": ("train.txt",),
    "a test list": ("test.txt",),
    "other lists": ("default.txt", "rest.txt"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_lists_without_one_to_score_on(what: str, tmp_path: Path, folders: Any) -> None:
    names = [*"abcdefghij"]
    root = many(folders, tmp_path, names, **{name: "a\nb\nc\nd\n" for name in REFUSED[what]})
    there = ", ".join(REFUSED[what])
    with pytest.raises(NoSplit, match=rf"lists there: {there}; train_split and .*val_share="):
        open_datasets(root, classes=CLASSES)
    known = names[:4] if what == "a list to train on" else names
    training, validation = scored(root, val_share=0.3)
    assert sorted(training + validation) == known


@pytest.mark.parametrize(("train", "val"), [("trainaug", "val"), ("train", "vall")])
def test_a_list_that_was_asked_for_is_not_made_up(
    train: str, val: str, tmp_path: Path, folders: Any
) -> None:
    root = folders.make(tmp_path, IMAGES)
    with pytest.raises(NoSplit, match=r"(trainaug|vall)\.txt: there is no such list"):
        open_datasets(root, train, val, CLASSES)


def test_a_share_of_what_is_set_apart_already_is_refused(tmp_path: Path, folders: Any) -> None:
    root = folders.make(tmp_path, {**IMAGES, "train.txt": "a", "val.txt": "b"})
    with pytest.raises(DataError, match="set apart already, as val"):
        open_datasets(root, classes=CLASSES, val_share=0.2)
