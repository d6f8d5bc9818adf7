"""Turn a file of weights into one that is safe and quick to read, or that other programs run.

    python examples/convert_weights.py vgg16-397923af.pth vgg16.safetensors
    python examples/convert_weights.py fcn8s-heavy-pascal.caffemodel fcn8s.safetensors --model fcn8s
    python examples/convert_weights.py runs/first/best.npz first.onnx

It reads .pth, .pt, .safetensors, .caffemodel, .mat, .npz and our own checkpoints, by what is in
them, and writes .safetensors or .npz. With --model the arrays get the names and shapes of that
model, and a .safetensors says which model it is for; without, they keep theirs. A .safetensors also
says how images are prepared, so that BGR stays BGR.

A .onnx holds the whole network, for images of any size, and needs the extra ``onnx``. Its input
"images" is (N, C, H, W), prepared as the last line on the screen and the file's metadata say.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tinyfcn import nn, onnx, weights
from tinyfcn.cli.parser import Parser, image_size
from tinyfcn.cli.train_options import about_published, add_about_published
from tinyfcn.files import atomic_write
from tinyfcn.training.errors import UsageError, plain_errors, usage_errors
from tinyfcn.training.model_spec import ModelSpec
from tinyfcn.training.published import published_model
from tinyfcn.weights import npz, safetensors

ENDINGS = (".npz", ".safetensors", ".onnx")


def main() -> None:
    parser = Parser(__doc__.splitlines()[0])
    parser.add_argument("source", metavar="IN", help="file of weights of any format")
    parser.add_argument("target", metavar="OUT", help=f"where to: a name in {', '.join(ENDINGS)}")
    parser.add_argument("--model", help="translate into the names and shapes of this model")
    add_about_published(parser)
    parser.add_argument(
        "--input",
        type=image_size,
        metavar="CxHxW",
        help="for .onnx: a size of images that the network takes (default 3x257x385)",
    )
    parser.add_argument(
        "--one-size", action="store_true", help="for .onnx: only for one image of that size"
    )
    options = parser.parse(sys.argv[1:])
    target = Path(options.target)
    if target.suffix not in ENDINGS:
        raise UsageError(f"{target}: the name must end in one of {', '.join(ENDINGS)}")
    given = [*about_published(options)]
    if given and not options.model:
        raise UsageError(f"--{given[0].replace('_', '-')} goes with --model")
    for name in ("input", "one_size"):
        if getattr(options, name) and target.suffix != ".onnx":
            raise UsageError(f"--{name.replace('_', '-')} goes with a .onnx, not {target}")

    with usage_errors("convert_weights"):
        if target.suffix == ".onnx":
            write_network(target, options)
        else:
            write_arrays(target, options)


def build(options: argparse.Namespace) -> tuple[nn.Module, ModelSpec]:
    """The model with its weights, as --model or the file itself says."""
    return published_model(options.source, options.model, **about_published(options))


def write_arrays(target: Path, options: argparse.Namespace) -> None:
    file = weights.read(options.source)
    arrays, about = file.arrays, file.description
    if options.model:
        model, description = build(options)
        arrays, about = model.state_dict(), description.to_dict()
    with atomic_write(target) as out:
        if target.suffix == ".npz":
            npz.write(out, arrays)
        else:
            out.writelines(safetensors.dump(arrays, file.preprocessing, about))
    total = sum(array.size for array in arrays.values())
    print(f"{target}: {len(arrays)} arrays, {total:,} numbers")
    if target.suffix == ".npz" and file.preprocessing is not None:
        print(f"remember how images are prepared, a .npz does not: {file.preprocessing}")


def write_network(target: Path, options: argparse.Namespace) -> None:
    model, about = build(options)
    metadata = safetensors.as_metadata(about.preprocessing, about.to_dict())
    size = options.input or onnx.EXAMPLE
    onnx.export(model, target, size, dynamic=not options.one_size, metadata=metadata)
    print(f"{target}: {about}")
    print(f"images {about.preprocessing}")


if __name__ == "__main__":
    with plain_errors():
        main()
