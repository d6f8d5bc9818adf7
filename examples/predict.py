"""Label the pixels of images with a trained network.

For each image, of any size, NAME.png in the folder of --out is the mask (a palette PNG of class
indices) and NAME_overlay.png shows it over the image, with a legend. Where one of these is taken by
a file of another origin, it is NAME-2 in both.

tinyfcn predict runs/fcn8s/best.npz photo.jpg another.png --out predictions
tinyfcn predict --weights fcn8s-heavy-pascal.caffemodel --model fcn8s photo.jpg
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tinyfcn import backend, models
from tinyfcn.cli.errors import UsageError, plain_errors, usage_errors, use_backend
from tinyfcn.cli.network import add_published, published
from tinyfcn.cli.parser import Parser, one_of
from tinyfcn.data import DataError, class_palette, read_image, write_mask
from tinyfcn.files import Outputs, atomic_write
from tinyfcn.nn import Module
from tinyfcn.training.errors import sentence
from tinyfcn.training.evaluation import predict
from tinyfcn.training.model_spec import ModelSpec
from tinyfcn.visualize import made_by, overlay

MARK = "tinyfcn predict"


def main(arguments: Sequence[str]) -> int:
    """The command, called with its arguments."""
    parser = Parser(__doc__, prog="tinyfcn predict")
    add = parser.add_argument
    add(
        "files", nargs="+", metavar="FILE", help="a checkpoint, then images; with --weights, images"
    )
    add("--weights", metavar="FILE", help="the weights, where FILE are images only")
    add_published(parser, "which network they are for, such as fcn8s")
    add("--out", default="predictions", metavar="PATH", help="where to (default predictions)")
    add("--backend", type=one_of(backend.names()), metavar="NAME", help="what computes")
    options = parser.parse(arguments)
    use_backend(options.backend)
    model, spec, images = open_network(options)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)

    failures = 0
    outputs = Outputs([*options.files, options.weights or ""], MARK)
    about = made_by(MARK)
    for path in images:
        try:
            image = read_image(path, upright=True)
        except (DataError, OSError) as error:
            print(f"error: {sentence(error)}", file=sys.stderr)
            failures += 1
            continue
        mask = predict(model, [image], spec.preprocessing)[0]
        (labels, picture), note = outputs.free(out, Path(path).stem, ".png", "_overlay.png")
        with atomic_write(labels) as file:
            write_mask(file, mask, class_palette(spec.classes), pnginfo=about)
        with atomic_write(picture) as file:
            overlay(image, mask, spec.classes).save(file, format="PNG", pnginfo=about)
        height, width = mask.shape
        print(f"{path} ({width} x {height}): {labels} and {picture}{note}")
    if failures:
        print(f"{failures} of {len(images)} images could not be read", file=sys.stderr)
    return 2 if failures else 0


def open_network(options: argparse.Namespace) -> tuple[Module, ModelSpec, list[str]]:
    """The model, what is known about it, and the images that it is to label."""
    file, *images = [options.weights, *options.files] if options.weights else options.files
    if not images:
        raise UsageError("name a checkpoint, then images")
    with usage_errors("predict"):
        model, spec = published(file, options)
    if models.is_classifier(spec.model):
        raise UsageError(
            f"{spec.model} labels whole images, not their pixels: {file} may begin a training "
            "(tinyfcn train --pretrained), but there is nothing to predict"
        )
    print(f"{spec}; images {spec.preprocessing}")
    return model, spec, images


if __name__ == "__main__":
    with plain_errors():
        sys.exit(main(sys.argv[1:]))
