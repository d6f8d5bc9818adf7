"""Label the pixels of images with a trained network.

For each image, of any size, NAME.png in the folder of --out is the mask (a palette PNG of class
indices) and NAME_overlay.png shows it over the image, with a legend.

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
from tinyfcn.data import DataError, read_image, write_mask
from tinyfcn.files import atomic_write, numbered
from tinyfcn.nn import Module
from tinyfcn.training.errors import sentence
from tinyfcn.training.evaluation import predict
from tinyfcn.training.model_spec import ModelSpec
from tinyfcn.visualize import overlay


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
    names: set[str] = set()
    for path in images:
        try:
            image = read_image(path, upright=True)
        except (DataError, OSError) as error:
            print(f"error: {sentence(error)}", file=sys.stderr)
            failures += 1
            continue
        mask = predict(model, [image], spec.preprocessing)[0]
        # Not that of an earlier image of this call: a/cat.jpg, b/cat.jpg → cat, cat-2.
        name = next(name for name in numbered(Path(path).stem) if name not in names)
        names.add(name)
        with atomic_write(out / f"{name}.png") as file:
            write_mask(file, mask)
        with atomic_write(out / f"{name}_overlay.png") as file:
            overlay(image, mask, spec.classes).save(file, format="PNG")
        height, width = mask.shape
        print(f"{path} ({width} x {height}): {out / name}.png and {out / name}_overlay.png")
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
