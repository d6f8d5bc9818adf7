"""Drawn scenes, and the tree that they are written to."""

from __future__ import annotations

import dataclasses
import errno

import numpy as np
import pytest
from PIL import Image

from tinyfcn.data import (
    SYNTHETIC_CLASSES,
    SceneStyle,
    VOCSegmentation,
    check_sample,
    draw_scene,
    synthetic,
    write_voc_tree,
)
from tinyfcn.data import scenes as drawing
from tinyfcn.data.shapes import SHAPES

SMALL = {"size": 32, "diameter": (9, 20)}


def _scenes(count: int, **changes):
    style = dataclasses.replace(SceneStyle(), **changes)
    return [draw_scene(np.random.default_rng(seed), style) for seed in range(count)]


def _files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_scenes_keep_the_conventions_and_show_every_class():
    scenes = _scenes(60)
    for scene in scenes:
        check_sample(scene.image, scene.mask, len(SYNTHETIC_CLASSES))
        assert scene.mask.shape == (128, 128)
    labels = np.concatenate([scene.mask.ravel() for scene in scenes])
    pixels = np.bincount(labels, minlength=256)
    assert len(SYNTHETIC_CLASSES) >= 9 and (pixels[: len(SYNTHETIC_CLASSES)] > 0).all()
    assert 0.4 < pixels[0] / labels.size < 0.85 and 0.02 < pixels[255] / labels.size < 0.12


def test_borders_are_void_so_that_no_two_labels_touch():
    for scene in _scenes(20, objects=(4, 5)):
        for one, other in (
            (scene.mask[1:], scene.mask[:-1]), (scene.mask[:, 1:], scene.mask[:, :-1]),
        ):  # fmt: skip
            assert not ((one != other) & (one != 255) & (other != 255)).any()


def test_the_generator_alone_decides():
    first, again, other = (draw_scene(np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.mask, again.mask)
    assert (first.image != other.image).any()


@pytest.mark.parametrize(
    ("name", "area"),
    [
        ("disc", np.pi),
        ("ring", np.pi * (1 - 0.52**2)),
        ("triangle", 3 * np.sqrt(3) / 4),
        ("square", 2.0),
        ("star", 5 * 0.45 * np.sin(np.pi / 5)),
        ("cross", 4 * 0.34 * 2 - 4 * 0.34**2),
    ],
)
def test_shapes_have_their_area(name, area):
    """Coverage summed over pixels against the formula of the area, at a radius of 30 pixels."""
    coverage = drawing._stamp(30 * np.eye(2), *SHAPES[name])
    assert (coverage.min(), coverage.max()) == (0, 1)
    assert coverage.sum() == pytest.approx(area * 30**2, rel=0.02)


@pytest.mark.parametrize("name", list(SYNTHETIC_CLASSES[1:]))
def test_shapes_stay_in_the_unit_circle_about(name):
    radius = np.linalg.norm(SHAPES[name][0], axis=1)
    assert 0.95 < radius.max() < 1.3


def test_the_tree_is_read_back_through_the_voc_reader(tmp_path):
    root = write_voc_tree(tmp_path / "scenes", train=4, val=3, seed=9, **SMALL)
    lists = {split: VOCSegmentation(root, split) for split in ("train", "val", "trainval")}
    assert [len(dataset) for dataset in lists.values()] == [4, 3, 7]
    assert lists["trainval"].ids == lists["train"].ids + lists["val"].ids
    assert not set(lists["train"].ids) & set(lists["val"].ids)
    for dataset in lists.values():
        assert dataset.classes == SYNTHETIC_CLASSES
        assert len([*dataset]) == len(dataset)
    assert lists["train"][0].image.shape == (32, 32, 3)
    with Image.open(root / "SegmentationClass" / "train_00000.png") as mask:
        assert mask.mode == "P"
    with Image.open(root / "JPEGImages" / "train_00000.jpg") as image:
        assert image.format == "JPEG"
    assert [path.name for path in tmp_path.iterdir()] == ["scenes"]


def test_scenes_do_not_depend_on_how_many_there_are(tmp_path):
    small = _files(write_voc_tree(tmp_path / "small", train=2, val=1, **SMALL))
    large = _files(write_voc_tree(tmp_path / "large", train=3, val=2, **SMALL))
    pictures = [name for name in small if name.endswith((".png", ".jpg"))]
    assert len(pictures) == 6 and all(small[name] == large[name] for name in pictures)
    assert small["JPEGImages/train_00000.jpg"] != small["JPEGImages/val_00000.jpg"]
    other = _files(write_voc_tree(tmp_path / "other", train=2, val=1, **SMALL, seed=1))
    assert all(small[name] != other[name] for name in pictures)


def test_an_equal_tree_is_kept_and_another_replaced(tmp_path, monkeypatch):
    root = write_voc_tree(tmp_path / "scenes", train=2, val=1, **SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(synthetic, "draw_scene", None)
        assert write_voc_tree(tmp_path / "scenes", train=2, val=1, **SMALL) == root
    write_voc_tree(tmp_path / "scenes", train=1, val=1, size=40, diameter=(9, 20))
    assert len(VOCSegmentation(root)) == 1
    assert VOCSegmentation(root)[0].mask.shape == (40, 40)
    assert [path.name for path in tmp_path.iterdir()] == ["scenes"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_writing_leaves_what_was_there(tmp_path, monkeypatch, error):
    root = write_voc_tree(tmp_path / "scenes", train=2, val=1, **SMALL)
    before = _files(root)

    def stop(numbers):
        yield 0
        raise error

    for folder in ("scenes", "fresh"):
        with pytest.raises(error):
            write_voc_tree(tmp_path / folder, train=3, val=1, **SMALL, progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["scenes"]
    assert _files(root) == before


def test_other_peoples_folders_are_left_alone(tmp_path):
    (tmp_path / "photo.jpg").write_text("precious")
    with pytest.raises(FileExistsError, match="something else than a tree of synthetic scenes"):
        write_voc_tree(tmp_path, train=1, val=1)
    assert (tmp_path / "photo.jpg").read_text() == "precious"
    with pytest.raises(FileExistsError):
        write_voc_tree(tmp_path / "photo.jpg", train=1, val=1)
    (tmp_path / "empty").mkdir()
    assert write_voc_tree(tmp_path / "empty", train=1, val=0, **SMALL).is_dir()


@pytest.mark.parametrize(
    "name",
    ["notes.txt", "JPEGImages/mine.jpg", "SegmentationClass/val_00000.bak", "own/train_00000.jpg",
     "ImageSets/Segmentation/mine.txt", ".hidden"],
)  # fmt: skip
def test_files_that_were_added_to_a_tree_are_not_lost_with_it(tmp_path, name):
    tree = write_voc_tree(tmp_path / "scenes", train=1, val=1, **SMALL)
    for path in tree.rglob("*"):
        path.chmod(path.stat().st_mode & ~0o222)  # a tree that may only be read is kept too
    write_voc_tree(tree, train=1, val=1, **SMALL)
    for path in tree.rglob("*"):
        path.chmod(path.stat().st_mode | 0o200)
    (tree / name).parent.mkdir(exist_ok=True)
    (tree / name).write_text("precious")
    write_voc_tree(tree, train=1, val=1, **SMALL)
    with pytest.raises(FileExistsError, match=f"{tree / name}: no scene, and would be lost"):
        write_voc_tree(tree, train=2, val=1, **SMALL)
    assert (tree / name).read_text() == "precious"
    (tree / name).unlink()
    write_voc_tree(tree, train=2, val=1, **SMALL)
    assert len([*tree.glob("JPEGImages/*")]) == 3


@pytest.mark.parametrize("text", ["", "{}", '{"version": "of another program"}', "[1]"])
def test_another_file_of_the_name_of_the_parameters_is_not_lost(tmp_path, text):
    (tmp_path / "synthetic.json").write_text(text)
    with pytest.raises(FileExistsError, match="something else than a tree"):
        write_voc_tree(tmp_path, train=1, val=1, **SMALL)
    assert (tmp_path / "synthetic.json").read_text() == text


def test_wrong_arguments_are_named(tmp_path):
    with pytest.raises(ValueError, match="train=0, val=0"):
        write_voc_tree(tmp_path / "scenes", train=0, val=0)
    with pytest.raises(ValueError, match=r"diameter must be .* in \[1, 32\], got \(40.0, 76.0\)"):
        write_voc_tree(tmp_path / "scenes", size=32)
    with pytest.raises(ValueError, match=r"objects must be two rising .* got \(5, 2\)"):
        SceneStyle(objects=(5, 2))
    with pytest.raises(TypeError, match="colour"):
        write_voc_tree(tmp_path / "scenes", colour="red")


def test_a_full_disk_names_the_folder(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("PIL.Image.Image.save", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*scenes'"):
        write_voc_tree(tmp_path / "scenes", train=1, val=1)
    assert list(tmp_path.iterdir()) == []
