"""The readers of VOC, SBD and folders, and data sets one after the other."""

from __future__ import annotations

import functools
import os
import resource
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from scipy.sparse import csc_matrix

from tinyfcn.data import (
    VOC_CLASSES,
    ConcatDataset,
    DataError,
    FolderSegmentation,
    SBDSegmentation,
    VOCSegmentation,
    class_files,
    index_to_rgb,
    write_mask,
)
from tinyfcn.training.datasets import open_dataset

NUCLEI = Path(__file__).parents[3] / "shared" / "data" / "nuclei_voc"


# VOC.


def test_voc_reads_images_and_indices(tree):
    dataset = VOCSegmentation(tree.root)
    assert (dataset.ids, dataset.classes) == (tuple(tree.ids), VOC_CLASSES)
    assert len(dataset) == 7 and dataset.num_classes == 21
    for sample, name, image, mask in zip(dataset, tree.ids, tree.images, tree.masks, strict=True):
        assert sample.id == name
        np.testing.assert_array_equal(sample.image, image)
        np.testing.assert_array_equal(sample.mask, mask)


@pytest.mark.parametrize(
    "place", ["VOC2012", "VOCdevkit/VOC2012", "VOCdevkit/VOC2007", "TrainVal/VOCdevkit/VOC2011"]
)
def test_voc_is_found_in_every_nesting(tree, tmp_path, place):
    target = tmp_path / "download" / place
    target.parent.mkdir(parents=True)
    tree.root.rename(target)
    for root in (tmp_path / "download", target.parent, target):
        assert VOCSegmentation(root).root == target


def test_the_newest_year_is_taken(tree, tmp_path):
    (tmp_path / "VOC2007/ImageSets/Segmentation").mkdir(parents=True)
    assert VOCSegmentation(tmp_path).root == tree.root


def test_class_names_come_from_the_argument_or_the_file_or_voc(tree):
    (tree.root / "labels.txt").write_text("sky\nsea\n\nsand\n")
    assert VOCSegmentation(tree.root).classes == ("sky", "sea", "sand")
    given = VOCSegmentation(tree.root, classes=["a", "b", "c", "d"])
    assert given.classes == ("a", "b", "c", "d")
    (tree.root / "labels.txt").write_text("sky\nsky\n")
    with pytest.raises(DataError, match=r"labels.txt: class names must be distinct"):
        VOCSegmentation(tree.root)


def test_lists_of_windows_and_blank_lines_are_read(tree):
    tree.write_list("windows", ["\ufeffscene_2", "", "scene_0 "], end="\r\n")
    assert VOCSegmentation(tree.root, "windows").ids == ("scene_2", "scene_0")


LISTS = {
    "NUL": b"scene_0\0\n",
    "an escape": b"scene_0\nscene_\x1b[31m1\n",
    "tabs": b"scene_0\t1\t2\t3\n",
    "UTF-16 without a mark": "scene_0\n".encode("utf-16-le"),
    "Latin-1": "Zürich\n".encode("latin-1"),
    "one long line": b"a" * 999,
    "more than can be meant": b"scene_0\n" * 200,
}


@pytest.mark.parametrize("what", LISTS)
@pytest.mark.parametrize("name", ["ImageSets/Segmentation/train.txt", "classes.txt", "labels.txt"])
def test_a_list_that_is_none_is_said_in_one_short_line(tree, monkeypatch, name, what):
    monkeypatch.setattr(class_files, "MOST_BYTES", 1000)
    (tree.root / name).write_bytes(LISTS[what])
    with pytest.raises(DataError, match=r"\.txt: expected a (text file|name)") as caught:
        VOCSegmentation(tree.root)
    assert len(str(caught.value)) < 400 and str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["../JPEGImages/scene_9", "/etc/passwd", "scene_9.jpg", ".", "~"])
def test_an_id_is_a_name_and_no_path(tree, name):
    tree.write_list("train", [name])
    with pytest.raises(FileNotFoundError, match="1 of 1 ids have no image file"):
        VOCSegmentation(tree.root)


def test_lists_of_old_macs_are_read(tree):
    tree.write_list("mac", ["scene_2", "scene_0"], end="\r")
    assert VOCSegmentation(tree.root, "mac").ids == ("scene_2", "scene_0")


def test_missing_root_tree_and_list_are_named(tree, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere: there is no such folder; a VOC tree"):
        VOCSegmentation(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"empty: not a VOC tree; .* VOCdevkit/VOC20xx"):
        VOCSegmentation(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match=r"tset.txt: .* no such list; .*there: train.txt;"):
        VOCSegmentation(tree.root, "tset")


def test_an_empty_list_is_rejected(tree):
    tree.write_list("nothing", ["", " "])
    with pytest.raises(DataError, match=r"nothing.txt: expected at least one image id"):
        VOCSegmentation(tree.root, "nothing")


def test_missing_files_are_found_before_anything_is_read(tree):
    tree.image("scene_3").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 7 ids have no image file: scene_3"):
        VOCSegmentation(tree.root)
    tree.write_list("rest", ["scene_0", *(f"other_{k}" for k in range(8))])
    for k in range(8):
        tree.image(f"other_{k}").write_bytes(tree.image("scene_0").read_bytes())
    with pytest.raises(FileNotFoundError, match=r"8 of 9 ids have no mask .*other_4 and 3 more"):
        VOCSegmentation(tree.root, "rest")


def test_two_files_for_one_id_are_rejected(tree):
    Image.new("RGB", (3, 3)).save(tree.root / "JPEGImages" / "scene_0.png")
    with pytest.raises(DataError, match=r"one file for 'scene_0', got scene_0.jpg and scene_0.png"):
        VOCSegmentation(tree.root)


@pytest.mark.skipif(not NUCLEI.is_dir(), reason="the nuclei data set is not beside the checkout")
def test_real_images():
    for split, count in (("train", 262), ("val", 72)):
        dataset = VOCSegmentation(NUCLEI, split, classes=["background", "nucleus"])
        assert len(dataset) == count
        assert dataset[0].image.shape == (256, 256, 3)
        assert set(np.unique(dataset[0].mask)) == {0, 1, 255}


# SBD.


def _write_sbd(folder: Path, ids: list[str]) -> list[np.ndarray]:
    masks = []
    for part in ("img", "cls"):
        (folder / part).mkdir(parents=True)
    for number, name in enumerate(ids):
        mask = np.random.default_rng(number).integers(0, 21, (8, 11), dtype=np.uint8)
        masks.append(mask)
        Image.new("RGB", (11, 8)).save(folder / "img" / f"{name}.jpg")
        truth = np.empty((1, 1), [("Segmentation", object), ("CategoriesPresent", object)])
        truth[0, 0] = (mask, np.unique(mask))
        savemat(folder / "cls" / f"{name}.mat", {"GTcls": truth})
    (folder / "train.txt").write_text("\n".join(ids))
    return masks


@pytest.mark.parametrize("place", [".", "dataset", "benchmark_RELEASE/dataset"])
def test_sbd_reads_its_masks(tmp_path, place):
    masks = _write_sbd(tmp_path / place, ["2008_1", "2008_2"])
    dataset = SBDSegmentation(tmp_path)
    assert dataset.classes == VOC_CLASSES
    for sample, mask in zip(dataset, masks, strict=True):
        np.testing.assert_array_equal(sample.mask, mask)
        assert sample.mask.dtype == np.uint8


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_sbd_reads_what_its_authors_wrote(tmp_path, packed, dtype):
    """Their files hold sparse borders of each class beside the mask."""
    (mask,) = _write_sbd(tmp_path, ["a"])
    borders = np.empty((20, 1), object)
    borders[:, 0] = [csc_matrix(mask == label) for label in range(1, 21)]
    fields = {"Boundaries": borders, "Segmentation": mask, "CategoriesPresent": dtype([[7], [9]])}
    variables = {"note": "first", "GTcls": fields, "GTinst": fields}
    savemat(tmp_path / "cls" / "a.mat", variables, do_compression=packed)
    sample = SBDSegmentation(tmp_path)[0]
    np.testing.assert_array_equal(sample.mask, mask)
    assert sample.mask.flags.c_contiguous and sample.mask.dtype == np.uint8


def _element(kind: int, data: bytes) -> bytes:
    return struct.pack("<2I", kind, len(data)) + data + bytes(-len(data) % 8)


def _array(kind: int, shape: tuple[int, ...], *parts: bytes, name: bytes = b"") -> bytes:
    dims = struct.pack(f"<{len(shape)}i", *shape)
    head = _element(6, struct.pack("<2I", kind, 0)) + _element(5, dims) + _element(1, name)
    return _element(14, head + b"".join(parts))


def _gtcls(*parts: bytes, shape: tuple[int, ...] = (1, 1)) -> bytes:
    names = _element(5, struct.pack("<i", 16)) + _element(1, b"Segmentation".ljust(16, b"\0"))
    return _array(2, shape, names, *parts, name=b"GTcls")


def _packed(data: bytes) -> bytes:
    packed = zlib.compress(data)
    return struct.pack("<2I", 15, len(packed)) + packed


HUGE = (30_000, 30_000)
HOSTILE = {
    "a mask of sizes alone": _gtcls(_array(9, HUGE, _element(2, b"12"))),
    "a size beyond the end": _gtcls(_array(9, HUGE, struct.pack("<2I", 2, 900_000_000))),
    "structs without end": _gtcls(shape=(2_000_000_000, 1)),
    "cells without end": _gtcls(_array(1, (2_000_000_000, 3))),
    "a bomb": _packed(_gtcls(_array(9, (20_000, 5_000), _element(2, bytes(100_000_000))))),
    "deep": _gtcls(functools.reduce(lambda inner, _: _array(1, (1, 1), inner), range(2000), b"")),
    "a text": _gtcls(_array(4, (1, 3), _element(16, b"abc"))),
    "a list": _gtcls(_array(1, (1, 1), _array(9, (1, 1), _element(2, b"1")))),
    "no element": _gtcls(shape=(0, 0)),
    "not a struct": _array(9, (1, 1), _element(2, b"1"), name=b"GTcls"),
    "nothing": b"",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_sbd_takes_no_size_at_its_word(tmp_path, what):
    _write_sbd(tmp_path, ["a"])
    header = b"MATLAB 5.0".ljust(124) + b"\0\1IM"
    (tmp_path / "cls" / "a.mat").write_bytes(header + HOSTILE[what])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=r"a.mat: expected a (MATLAB file with GTcls|mask)"):
        SBDSegmentation(tmp_path)[0]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_sbd_waits_for_no_pipe(tmp_path):
    _write_sbd(tmp_path, ["a"])
    (tmp_path / "cls" / "a.mat").unlink()
    os.mkfifo(tmp_path / "cls" / "a.mat")
    with pytest.raises(DataError, match=r"a.mat: expected a MATLAB file .*got a pipe"):
        SBDSegmentation(tmp_path)[0]


def test_sbd_without_what_is_scored(tmp_path):
    masks = _write_sbd(tmp_path, ["a", "b", "c"])
    dataset = SBDSegmentation(tmp_path).only({"a", "c", "z"})
    assert [sample.id for sample in dataset] == ["a", "c"]
    np.testing.assert_array_equal(dataset[1].mask, masks[2])


def test_sbd_names_what_is_missing_or_damaged(tmp_path):
    with pytest.raises(FileNotFoundError, match="not a tree of SBD"):
        SBDSegmentation(tmp_path)
    _write_sbd(tmp_path, ["a", "b", "c"])
    with pytest.raises(FileNotFoundError, match=r"val.txt: .* no such list; image ids"):
        SBDSegmentation(tmp_path, "val")
    path = tmp_path / "cls" / "a.mat"
    path.write_bytes(path.read_bytes()[:-20])
    savemat(tmp_path / "cls" / "b.mat", {"other": 1})
    dataset = SBDSegmentation(tmp_path)
    for index, wrong in enumerate([r"a.mat: expected a MATLAB", r"b.mat: .*GTcls"]):
        with pytest.raises(DataError, match=wrong):
            dataset[index]


# Folders.


@pytest.fixture
def folder(tmp_path):
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    for number, name in enumerate("bac"):
        Image.new("RGB", (5, 4), (number, 0, 0)).save(tmp_path / "images" / f"{name}.png")
        write_mask(tmp_path / "masks" / f"{name}.png", np.full((4, 5), number, np.uint8))
    (tmp_path / "images" / ".hidden.png").write_text("")
    (tmp_path / "images" / "notes.txt").write_text("")
    return tmp_path


def test_folder_matches_by_name(folder):
    dataset = FolderSegmentation(folder, classes=["x", "y", "z"])
    assert dataset.ids == ("a", "b", "c")
    assert [int(sample.image[0, 0, 0]) for sample in dataset] == [1, 0, 2]
    assert [int(sample.mask[0, 0]) for sample in dataset] == [1, 0, 2]


def test_folder_reads_lists_and_class_files(folder):
    (folder / "classes.txt").write_text("x\ny\nz\n")
    (folder / "val.txt").write_text("c\nb\n")
    dataset = FolderSegmentation(folder, "val")
    assert dataset.ids == ("c", "b") and dataset.classes == ("x", "y", "z")


def test_folder_maps_its_own_colours(folder):
    palette = np.array([[1, 1, 1], [250, 0, 9], [3, 200, 3]], np.uint8)
    rgb = index_to_rgb(np.full((4, 5), 2, np.uint8), palette)
    Image.fromarray(rgb).save(folder / "masks" / "a.png")
    dataset = FolderSegmentation(folder, classes=["x", "y", "z"], palette=palette)
    assert (dataset[0].mask == 2).all()
    with pytest.raises(DataError, match=r"a.png: .*\(3, 200, 3\)"):
        FolderSegmentation(folder, classes=["x", "y", "z"])[0]


NAMELESS = {
    "0:background,1:NAME1,2:NAME2": (0, 1, 2),
    "7:background,24:NAME1,255:void": (7, 24, 255),
    "0:background,2:NAME1": (0, 2, 2),
}


@pytest.mark.parametrize("option", NAMELESS)
def test_what_gives_names_where_there_are_none(folder, option):
    for name, value in zip("bac", NAMELESS[option], strict=True):
        write_mask(folder / "masks" / f"{name}.png", np.full((4, 5), value, np.uint8))
    with pytest.raises(DataError, match=r"no class names; write them into classes.txt there"):
        FolderSegmentation(folder)
    with pytest.raises(DataError, match=f"; mask_values={option} names what masks hold"):
        open_dataset(folder, None)


def test_folder_errors(folder):
    (folder / "masks" / "b.png").unlink()
    with pytest.raises(FileNotFoundError, match="1 of 3 ids have no mask file: b"):
        FolderSegmentation(folder, classes=["x", "y", "z"])


# Several as one.


def test_concat_keeps_the_order(tree, folder):
    names = ["x", "y", "z"]
    first = FolderSegmentation(folder, classes=names)
    second = VOCSegmentation(tree.root, classes=names)
    both = ConcatDataset([first, second])
    assert len(both) == 10 and both.ids == first.ids + second.ids
    assert [both[index].id for index in range(10)] == list(both.ids)
    assert both[-1].id == "scene_6"
    with pytest.raises(IndexError):
        both[10]
    assert [sample.id for sample in both] == list(both.ids)


def test_concat_wants_the_same_classes(tree, folder):
    first = FolderSegmentation(folder, classes=["x", "y", "z"])
    with pytest.raises(DataError, match="same classes"):
        ConcatDataset([first, VOCSegmentation(tree.root)])
    with pytest.raises(ValueError, match="at least one"):
        ConcatDataset([])
