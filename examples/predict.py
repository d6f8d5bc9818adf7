"""Label the pixels of images with a trained network.

For each image, of any size, NAME.png in the folder of --out is the mask (a palette PNG of class
indices) and NAME_overlay.png shows it over the image, with a legend.

tinyfcn predict runs/fcn8s/best.npz photo.jpg another.png --out predictions
tinyfcn predict --weights fcn8s-heavy-pascal.caffemodel --model fcn8s photo.jpg
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tinyfcn import backend, models
from tinyfcn.cli.errors import UsageError, plain_errors, sentence, usage_errors
from tinyfcn.cli.parser import Parser
from tinyfcn.cli.train_options import about_published, add_about_published
from tinyfcn.data import DataError, read_image, write_mask
from tinyfcn.files import atomic_write
from tinyfcn.training.checkpoint import CheckpointError
from tinyfcn.training.evaluation import predict
from tinyfcn.training.model_spec import load_model
from tinyfcn.training.published import published_model
from tinyfcn.visualize import overlay


def main(arguments: Sequence[str]) -> int:
    parser = Parser(__doc__, prog="tinyfcn predict")
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="a checkpoint, then images; with --weights, images"
    )
    parser.add_argument(
        "--weights", help="published weights instead of a checkpoint", metavar="FILE"
    )
    parser.add_argument("--model", help="which network they are for, such as fcn8s")
    add_about_published(parser)
    parser.add_argument(
        "--out", default="predictions", help="folder to write to (default predictions)"
    )
    parser.add_argument("--backend", help="what computes (default TINYFCN_BACKEND, or numpy)")
    options = parser.parse(arguments)

    with usage_errors("--backend"):
        backend.use(options.backend or backend.active().name)
    if options.weights:
        with usage_errors("--weights"):
            model, description = published_model(
                options.weights, options.model, **about_published(options)
            )
        if models.is_classifier(description.model):
            raise UsageError(
                f"{description.model} labels whole images, not their pixels: {options.weights} may "
                "begin a training (train_voc.py --pretrained), but there is nothing to predict"
            )
        print(f"{description}; images {description.preprocessing}")
        images = options.files
    else:
        checkpoint, *images = options.files
        if not images:
            raise UsageError("name a checkpoint, then images")
        given = [*about_published(options)]
        if options.model or given:
            name = "model" if options.model else given[0].replace("_", "-")
            raise UsageError(f"--{name} goes with --weights")
        try:
            model, description = load_model(checkpoint)
        except CheckpointError as error:
            if Path(checkpoint).suffix == ".npz":
                raise
            raise UsageError(f"{error}; weights of another kind go behind --weights") from error
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
        mask = predict(model, [image], description.preprocessing)[0]
        name = unused(Path(path).stem, names)
        with atomic_write(out / f"{name}.png") as file:
            write_mask(file, mask)
        with atomic_write(out / f"{name}_overlay.png") as file:
            overlay(image, mask, description.classes).save(file, format="PNG")
        height, width = mask.shape
        print(f"{path} ({width} x {height}): {out / name}.png and {out / name}_overlay.png")
    if failures:
        print(f"{failures} of {len(images)} images could not be read", file=sys.stderr)
    return 2 if failures else 0


def unused(stem: str, taken: set[str]) -> str:
    """A name that no earlier image of this call was written to: a/cat.jpg, b/cat.jpg → cat-2."""
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    taken.add(name)
    return name


if __name__ == "__main__":
    with plain_errors():
        sys.exit(main(sys.argv[1:]))
