"""What the fuzzer starts from: small whole files of every kind that is read, and their readers."""

from __future__ import annotations

import functools
import importlib.util
import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import containers
import numpy as np
import tiny_run
from PIL import Image
from scipy.io import savemat

from tinyfcn import cli, weights
from tinyfcn.cli.class_options import class_names
from tinyfcn.data import (
    DataError,
    SBDSegmentation,
    VOCSegmentation,
    index_to_rgb,
    read_image,
    read_mask,
    write_mask,
)
from tinyfcn.data.class_files import read_class_file
from tinyfcn.training import checkpoint
from tinyfcn.training.checkpoint import CheckpointError
from tinyfcn.training.datasets import open_dataset
from tinyfcn.training.run_folder import RunFolder
from tinyfcn.weights import WeightsError

OWN = (DataError, WeightsError, CheckpointError, FileNotFoundError)


class Kind(NamedTuple):
    """A kind of file.

    Attributes:
        seeds: whole files; some are mutated, some give parts to others.
        read: ways to read one, given its path; they raise one of ``OWN``, or SystemExit where they
            are commands.
        place: where the file lies, below the folder of the worker.
    """

    seeds: list[bytes]
    read: list[Callable[[Path], Any]]
    place: str = "file"


def kinds(folder: Path) -> dict[str, Kind]:
    """All kinds; what they need lies in ``folder``, which each worker has a copy of.

    ``folder`` holds ``voc``, a tree of tiny scenes, ``sbd``, another, and a place for each file.
    """
    tiny_run.write_data(folder / "voc")
    for part in ("sbd/img", "sbd/cls", "run", "labelme", "coco", "tables"):
        (folder / part).mkdir(parents=True)
    for part in ("sbd/img", "labelme", "coco"):
        Image.new("RGB", (11, 8)).save(folder / part / "a.jpg")
    (folder / "sbd/train.txt").write_text("a\n")
    listing = "voc/ImageSets/Segmentation/train.txt"
    weights_kinds = {name: Kind(seeds, [weights.read]) for name, seeds in _weights(folder).items()}
    return {
        **_pictures(),
        "list": Kind([(folder / listing).read_bytes(), COLUMNS], [_open_voc], listing),
        **{
            name: Kind([*seeds], [read_class_file], f"tables/{name}")
            for name, seeds in TABLES.items()
        },
        "labelme": Kind([json.dumps(LABELME).encode()], [_open_drawn], "labelme/a.json"),
        "COCO": Kind([json.dumps(COCO).encode()], [_open_drawn], "coco/a.json"),
        "classes": Kind(
            [(folder / "voc/classes.txt").read_bytes(), "Zürich\r\n".encode("utf-8-sig")],
            [_open_voc, lambda path: class_names(str(path))],
            "voc/classes.txt",
        ),
        "SBD": Kind(_sbd_masks(), [_open_sbd], "sbd/cls/a.mat"),
        "log.csv": Kind(_logs(), [claim_log], "run/log.csv"),
        "checkpoint": Kind(
            _checkpoints(folder),
            [checkpoint.load, weights.read, predict, evaluate, resume, init_from],
            "run/last.npz",
        ),
        **weights_kinds,
    }


# ---- readers ----


def _open_voc(path: Path) -> None:
    root = next(parent for parent in path.parents if parent.name == "voc")
    len(VOCSegmentation(root, "train"))


def _open_drawn(path: Path) -> None:
    for sample in open_dataset(path.parent, None):
        assert sample.mask.shape == (8, 11)


def _open_sbd(path: Path) -> None:
    SBDSegmentation(path.parents[1])[0]


def claim_log(path: Path) -> None:
    """What a resumed run does with the log that it finds."""
    RunFolder(path.parent).claim_log([{"epoch": 1, "iteration": 4}])
    for aside in path.parent.glob("log-*.csv"):
        aside.unlink()


def predict(path: Path) -> None:
    """``tinyfcn predict``"""
    image = path.parents[1] / "voc/JPEGImages/val_00000.jpg"
    cli.main(["predict", str(path), str(image), "--out", str(path.parent / "predictions")])


def evaluate(path: Path) -> None:
    """``tinyfcn evaluate``"""
    cli.main(["evaluate", str(path), "--data-root", str(path.parents[1] / "voc")])


def resume(path: Path) -> None:
    """``tinyfcn train --resume``, up to its first step"""
    cli.main(["train", "--resume", str(path), "--data-root", str(path.parents[1] / "voc")])


def init_from(path: Path) -> None:
    """``tinyfcn train --init-from``, up to its first step"""
    folder = path.parents[1]
    cli.main([*_train(folder), "--init-from", str(path), "--out", str(path.parent / "another run")])


def _train(folder: Path) -> list[str]:
    return [
        "train", "--data-root", str(folder / "voc"), "--model", "same_resolution", "--width",
        "0.05", "--crop", "16", "--batch-size", "4", "--epochs", "1", "--workers", "0",
    ]  # fmt: skip


# ---- files ----

COLUMNS = b"/JPEGImages/val_00000.jpg /SegmentationClass/val_00000.png\nval_00001 1 2\n"
TABLES = {
    "labelmap.txt": [b"# label:color_rgb:parts:actions\nsky:0,0,0::\nvoid:1, 2, 3::\n"],
    "class_dict.csv": [b"name,r,g,b\nsky,0,0,0\nvoid,1,2,3\n"],
    "label_colors.txt": [b"0 0 0\tsky\r\n1 2 3\t\tvoid\r\n"],
    "_classes.csv": [b"Pixel Value, Class\n0, sky\n7, sea\n", "0,Zürich\n".encode("utf-16")],
}
TRIANGLE = [1, 1, 6.5, 1, 6, 7]
LABELME: dict[str, Any] = {
    "shapes": [
        {"label": "a", "points": [[1, 1], [6, 1], [6, 7]], "shape_type": "polygon"},
        {"label": "b", "points": [[1, 1], [6, 5]], "shape_type": "rectangle"},
        {"label": "__ignore__", "points": [[4, 4], [6, 5]], "shape_type": "circle"},
    ],
    "imagePath": "a.jpg", "imageData": None, "imageHeight": 8, "imageWidth": 11,
}  # fmt: skip
COCO: dict[str, Any] = {
    "images": [{"id": 1, "file_name": "a.jpg", "height": 8, "width": 11}],
    "categories": [{"id": 1, "name": "a", "supercategory": "none"}, {"id": 3, "name": "b"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "area": 9, "segmentation": [TRIANGLE]},
        {"id": 2, "image_id": 1, "category_id": 3, "iscrowd": 1,
         "segmentation": {"size": [8, 11], "counts": [7, 4, 2, 75]}},
        {"id": 3, "image_id": 1, "category_id": 3,
         "segmentation": {"size": [8, 11], "counts": "j035000m0NVO"}},
    ],
}  # fmt: skip


def _pictures() -> dict[str, Kind]:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8))
    photo = coarse.resize((23, 17), Image.Resampling.BICUBIC)
    turned = photo.getexif()
    turned[0x0112] = 6
    images = [
        saved(photo, "PNG"), saved(photo.convert("P"), "PNG"), saved(photo.convert("LA"), "PNG"),
        saved(photo, "JPEG"), saved(photo, "JPEG", progressive=True, exif=turned),
        saved(photo.convert("CMYK"), "JPEG"), saved(photo, "BMP"), saved(photo, "WEBP"),
        saved(photo, "WEBP", lossless=True, exif=turned), saved(photo, "TIFF", exif=turned),
        huge_png(), saved(photo, "GIF"), saved(photo, "TIFF", save_all=True, append_images=[photo]),
        *(saved(photo, "TIFF", compression=c) for c in ("tiff_lzw", "tiff_deflate", "jpeg")),
        saved(photo.convert("RGBA"), "TIFF", compression="tiff_lzw"), deep_png(),
    ]  # fmt: skip
    labels = rng.integers(0, 21, (17, 23)).astype(np.uint8)
    palette = io.BytesIO()
    write_mask(palette, labels)
    grey, wide = Image.fromarray(labels), Image.fromarray(labels.astype(np.uint16))
    colours = Image.fromarray(index_to_rgb(labels))
    masks = [
        palette.getvalue(), saved(grey, "PNG"), saved(colours, "PNG"), saved(wide, "PNG"),
        saved(colours.convert("RGBA"), "PNG"), saved(grey, "BMP"), saved(grey, "TIFF"),
        saved(colours, "WEBP", lossless=True), saved(grey, "GIF"),
    ]  # fmt: skip
    return {
        "image": Kind(images, [
            read_image, lambda path: read_image(path, upright=True),
            lambda path: read_image(path, channels=4, range=(0, 65535)),
        ]),
        "mask": Kind(masks, [read_mask]),
    }  # fmt: skip


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    """The bytes of an image file."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def huge_png() -> bytes:
    """20 kB that unpack to 300 million pixels, of a byte each in memory."""
    side = 17_320
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(side * (1 + -(-side // 8))))
    return containers.png([("IHDR", head), ("IDAT", rows), ("IEND", b"")])


def deep_png() -> bytes:
    """Four channels of 16 bits."""
    head = struct.pack(">IIBBBBB", 6, 5, 16, 6, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + bytes(range(48)) for _ in range(5)))
    return containers.png([("IHDR", head), ("IDAT", rows), ("IEND", b"")])


def _sbd_masks() -> list[bytes]:
    mask = np.random.default_rng(0).integers(0, 21, (8, 11), dtype=np.uint8)
    truth = np.empty((1, 1), [("Segmentation", object), ("CategoriesPresent", object)])
    truth[0, 0] = (mask, np.unique(mask))
    found = []
    for packed in (False, True):
        file = io.BytesIO()
        savemat(file, {"GTcls": truth}, do_compression=packed)
        found.append(file.getvalue())
    return found


def _logs() -> list[bytes]:
    head = "epoch,iteration,seconds,train_loss,mean_iu,iu cat\n"
    rows = "1,4,0.25,2.5,0.125,0.5\n2,8,0.5,1.5,0.25,\n"
    return [(head + rows).encode(), (head + rows).replace(",", ";").encode("utf-8-sig")]


def _checkpoints(folder: Path) -> list[bytes]:
    """The last checkpoint of a whole run, and one from inside an epoch, of SGD."""
    found = []
    for number, more in enumerate(([], ["--optimizer", "sgd", "--accumulate", "2"])):
        out = folder / f"run {number}"
        prepare = functools.partial(tiny_run.quickly, curves=False)
        tiny_run.undisturbed([*_train(folder), "--out", str(out), *more], prepare)
        found.append((out / "last.npz").read_bytes())
    return found


def _weights(folder: Path) -> dict[str, list[bytes]]:
    """Files of other programs, as the tests of their readers write them."""
    torch, caffe, mat, tensors = map(
        _tests, ("test_pytorch", "test_caffe", "test_matconvnet", "test_safetensors")
    )
    path = folder / "made"
    arrays = {"conv.weight": np.ones((2, 3), np.float32), "conv.bias": np.zeros(2)}
    found = {name: [] for name in ("npz", "pth", "legacy pth", "safetensors", "caffemodel", "mat")}

    def keep(name: str, write: Callable[[Path], Any]) -> None:
        write(path)
        found[name].append(path.read_bytes())

    for save in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        save(file, **arrays)
        found["npz"].append(file.getvalue())
    keep("pth", lambda path: torch.write_zip(path, torch.state()))
    keep("legacy pth", lambda path: torch.write_legacy(path, torch.state(b"N")))
    keep("safetensors", tensors.write)
    about = {"model": "fcn8s", "classes": ["a"], "arguments": {}}
    keep("safetensors", lambda path: path.write_bytes(b"".join(
        tensors.safetensors.dump(arrays, None, {**about, "preprocessing": tensors.CAFFE.to_dict()})
    )))  # fmt: skip
    blobs = caffe.blob(caffe.WEIGHT), caffe.blob(caffe.BIAS, False)
    keep("caffemodel", lambda path: caffe.write(path, caffe.layer("c", *blobs)))
    old = caffe.old_blob(caffe.WEIGHT), caffe.old_blob(caffe.BIAS)
    keep("caffemodel", lambda path: caffe.write(path, caffe.old_layer("c", *old)))
    for packed in (False, True):
        keep("mat", lambda path, packed=packed: mat.write(path, {"layers": mat.layers()}, packed))
    return found


def _tests(name: str) -> Any:
    """A file of tests/weights, for the files that it writes."""
    path = Path(__file__).parents[1] / "weights" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"builders_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
