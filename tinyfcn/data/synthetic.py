"""Writes synthetic scenes as a VOC tree, so that training on them is training on VOC."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from tinyfcn.data.class_colours import class_palette
from tinyfcn.data.conventions import write_mask
from tinyfcn.data.scenes import SYNTHETIC_CLASSES, SceneStyle, draw_scene
from tinyfcn.files import AnyPath, bears

__all__ = ["write_voc_tree"]

Progress = Callable[[Iterable[int]], Iterable[int]]

_PARAMETERS = "synthetic.json"
_VERSION = 2  # of what is drawn; a tree of another version is written anew
_OWN = re.compile(
    r"JPEGImages/\w+_\d{5,}\.jpg|SegmentationClass/\w+_\d{5,}\.png|classes\.txt|synthetic\.json"
    r"|ImageSets/Segmentation/(train|val|trainval)\.txt"
)


def write_voc_tree(
    folder: AnyPath,
    train: int = 1500,
    val: int = 200,
    seed: int = 0,
    progress: Progress = iter,
    **style: Any,
) -> Path:
    """Write scenes as a VOC tree at ``folder`` and return its path; keep an equal tree.

    Args:
        folder: becomes the folder of JPEGImages, SegmentationClass, ImageSets and classes.txt.
        train, val: number of scenes in each list; both lists together are trainval.
        seed: of all scenes. A scene does not depend on how many there are.
        progress: wraps the loop over scenes, such as ``tqdm``.
        style: fields of :class:`~tinyfcn.data.scenes.SceneStyle`, as in ``size=96``.

    The tree is written beside ``folder`` and renamed when complete. A tree written here with
    other parameters is replaced; if it holds another file too, or ``folder`` is anything else but
    empty or new, FileExistsError is raised.
    """
    scene_style = SceneStyle(**style)
    if min(train, val) < 0 or train + val == 0:
        raise ValueError(f"write_voc_tree: expected scenes to write, got train={train}, val={val}")
    folder = Path(folder).absolute()
    parameters = {"version": _VERSION, "seed": seed, "train": train, "val": val}
    text = json.dumps({**parameters, "style": asdict(scene_style)}, indent=1)
    if bears(folder / _PARAMETERS, '{\n "version": '):
        if (folder / _PARAMETERS).read_text() == text:
            return folder
        for path in folder.rglob("*"):
            if not (_OWN.fullmatch(path.relative_to(folder).as_posix()) or path.is_dir()):
                raise FileExistsError(f"{path}: no scene, and would be lost with the former ones")
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(
            f"{folder}: there is something else than a tree of synthetic scenes; "
            "name an empty or new folder"
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(".tmp", f".{folder.name}.", folder.parent) as beside:
            new = Path(beside, "new")
            _write(new, train, val, seed, scene_style, progress)
            (new / _PARAMETERS).write_text(text)
            if folder.exists():
                folder.rename(Path(beside, "former"))
            new.rename(folder)
    except OSError as error:
        error.filename = error.filename or str(folder)  # a full disk names no file
        raise
    return folder


def _write(
    folder: Path, train: int, val: int, seed: int, style: SceneStyle, progress: Progress
) -> None:
    """Lists of images, names of classes, images and masks, into a folder that is not there yet."""
    images, masks = folder / "JPEGImages", folder / "SegmentationClass"
    lists = folder / "ImageSets" / "Segmentation"
    for path in (images, masks, lists):
        path.mkdir(parents=True)
    (folder / "classes.txt").write_text("\n".join(SYNTHETIC_CLASSES) + "\n")
    names = [f"train_{index:05d}" for index in range(train)]
    names += [f"val_{index:05d}" for index in range(val)]
    for split, chosen in ("train", names[:train]), ("val", names[train:]), ("trainval", names):
        (lists / f"{split}.txt").write_text("".join(f"{name}\n" for name in chosen))
    palette = class_palette(SYNTHETIC_CLASSES)
    for number in progress(range(train + val)):
        part, index = (0, number) if number < train else (1, number - train)
        scene = draw_scene(np.random.default_rng([seed, part, index, 1]), style)
        Image.fromarray(scene.image).save(images / f"{names[number]}.jpg", quality=92)
        write_mask(masks / f"{names[number]}.png", scene.mask, palette)
