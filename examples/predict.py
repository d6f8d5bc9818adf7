"""Label the pixels of images with a trained network.

FILE is an image, a folder of them, a list (@list or list.txt, one a line) or a pattern ('*.png').
For each image, of any size, NAME.png in the folder of --out is the mask (a palette PNG of class
indices) and NAME_overlay.png shows it over the image, with a legend. Where one of these is taken
by a file of another origin, it is NAME-2 in all.

tinyfcn predict runs/fcn8s/best.npz photo.jpg another.png --out predictions
tinyfcn predict runs/fcn8s/best.npz photos --flip --scales 0.75,1,1.25 --resume
tinyfcn predict --weights fcn8s-heavy-pascal.caffemodel --model fcn8s photo.jpg
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinyfcn import Segmenter, backend
from tinyfcn.cli.errors import UsageError, plain_errors, typed, usage_errors, use_backend
from tinyfcn.cli.network import add_published, given_of
from tinyfcn.cli.parser import Parser, checked, limits, number, one_of
from tinyfcn.cli.pictures import find_pictures
from tinyfcn.data import DataError, class_palette, write_mask
from tinyfcn.files import Outputs, atomic_write, bears
from tinyfcn.training import report
from tinyfcn.training.errors import sentence
from tinyfcn.training.published import best_of
from tinyfcn.training.segmenter import Segmentation
from tinyfcn.visualize import made_by

MARK = "tinyfcn predict"


def main(arguments: Sequence[str]) -> int:
    """The command, called with its arguments."""
    options = parse(arguments)
    use_backend(options.backend)
    weights = best_of(options.weights or options.files[0])
    names = options.files[not options.weights :]
    if not names:
        raise UsageError("name a checkpoint, then images, as in: tinyfcn predict runs/fcn8s photos")
    with usage_errors("predict"):
        segmenter = Segmenter(
            weights, options.model, scales=options.scales, flip=options.flip,
            max_memory=options.max_memory and options.max_memory * 1e9,
            progress=sys.stderr.isatty(), probabilities=options.probabilities, **given_of(options),
        )  # fmt: skip
    print(f"{segmenter.spec}; images {segmenter.spec.preprocessing}")
    pictures = find_pictures(names, MARK)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)

    endings = [".png", "_overlay.png", *["_probabilities.npz"] * options.probabilities]
    outputs = Outputs([weights, *(path for path, _ in pictures)], MARK)
    failures = there = 0
    for path, below in report.bar(pictures, desc="prediction", disable=len(pictures) == 1 or None):
        files, note = outputs.free(out / below, path.stem, *endings)
        try:
            mark = f"{MARK} {_key(path, weights, options)}"
            if options.resume and all(bears(file, mark) for file in files):
                there += 1
                continue
            result = segmenter(path)
        except (DataError, OSError) as error:
            report.note(f"error: {typed(sentence(error))}")
            failures += 1
            continue
        write(result, files, mark)
        height, width = result.mask.shape
        how = result.note and f" in {result.note}"
        report.line(f"{path} ({width} x {height}){how}: {' and '.join(map(str, files))}{note}")
    if there:
        print(f"{there} of {len(pictures)} images were done already")
    if failures:
        print(f"{failures} of {len(pictures)} images could not be read", file=sys.stderr)
    return 2 if failures else 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options."""
    parser = Parser(__doc__, prog="tinyfcn predict")
    add = parser.add_argument
    scales = checked(limits, "sizes from 0.1 to 10, such as 0.75,1,1.25",
                     lambda found: bool(found) and all(0.1 <= x <= 10 for x in found))  # fmt: skip
    add("files", nargs="+", metavar="FILE", help="a checkpoint or run folder, then images")
    add("--weights", metavar="FILE", help="the weights, where FILE are images only")
    add_published(parser, "which network they are for, such as fcn8s")
    add("--out", default="predictions", metavar="PATH", help="where to (default predictions)")
    add("--probabilities", action="store_true", help="into NAME_probabilities.npz, as (C, H, W)")
    add("--flip", action="store_true", help="average over the image and its mirror image")
    add("--scales", type=scales, default=(1.0,), metavar="LIST", help="and over sizes, 0.75,1,1.25")
    add("--resume", action="store_true", help="skip what is done, from the same files and options")
    add("--max-memory", type=number(0.001, 1e6), metavar="GB", help="of a pass; images that "
        "would take more are labelled in tiles, with the same result")  # fmt: skip
    add("--backend", type=one_of(backend.names()), metavar="NAME", help="what computes")
    return parser.parse(arguments)


def write(result: Segmentation, files: Sequence[Path], mark: str) -> None:
    """Mask, overlay, and probabilities if there is a file for them; each bears the mark."""
    about = made_by(mark)
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            if path == files[0]:
                write_mask(file, result.mask, class_palette(result.classes), pnginfo=about)
            elif path == files[1]:
                result.overlay.save(file, format="PNG", pnginfo=about)
            else:
                likely = result.probabilities.astype(np.float16)
                classes, made = np.array(result.classes), np.bytes_(mark)
                np.savez(file, probabilities=likely, classes=classes, made_by=made)


def _key(path: Path, weights: Path, options: argparse.Namespace) -> str:
    """What a result depends on: a hash of the options, and of both files' name, size and time."""
    asked = [given_of(options), options.model, options.scales, options.flip]
    for name in (path, weights):
        about = os.stat(name)
        asked += [os.path.abspath(name), about.st_size, about.st_mtime_ns]
    return hashlib.sha256(repr(asked).encode("utf-8", "surrogateescape")).hexdigest()[:16]


if __name__ == "__main__":
    with plain_errors():
        sys.exit(main(sys.argv[1:]))
