"""Convert a file of weights to another format.

It reads .pth, .pt, .safetensors, .caffemodel, .mat, .npz and our own checkpoints, by what is in
them, and writes .safetensors or .npz. With --model the arrays get the names and shapes of that
model, and a .safetensors says which model it is for; without, they keep theirs. A .safetensors also
says how images are prepared, so that BGR stays BGR. A file of another origin stays: where there is
one of the name OUT, the new one is called OUT-2.

A .onnx holds the whole network, for images of any size, and needs the extra onnx. Its input
"images" is (N, C, H, W), prepared as the last line on the screen and the file's metadata say.

tinyfcn convert vgg16-397923af.pth vgg16.safetensors
tinyfcn convert fcn8s-heavy-pascal.caffemodel fcn8s.safetensors --model fcn8s
tinyfcn convert runs/first/best.npz first.onnx
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tinyfcn import onnx, weights
from tinyfcn.cli.errors import UsageError, flag, usage_errors
from tinyfcn.cli.network import add_published, given_of
from tinyfcn.cli.parser import Parser, image_size
from tinyfcn.files import Outputs, atomic_write
from tinyfcn.training.published import load_model
from tinyfcn.weights import npz, safetensors

ENDINGS = (".npz", ".safetensors", ".onnx")
MARK = "tinyfcn convert"


def main(arguments: Sequence[str]) -> None:
    """The command, called with its arguments."""
    parser = Parser(__doc__, prog="tinyfcn convert")
    add = parser.add_argument
    add("source", metavar="IN", help="file of weights of any format")
    add("target", metavar="OUT", help=f"where to: a name in {', '.join(ENDINGS)}")
    add_published(parser, "translate into the names and shapes of this model")
    add("--input", type=image_size, metavar="CxHxW", help=".onnx: a size (default 3x257x385)")
    add("--one-size", action="store_true", help=".onnx: only for one image of that size")
    options = parser.parse(arguments)
    target = Path(options.target)
    if target.suffix not in ENDINGS:
        raise UsageError(f"{options.target!r}: the name must end in one of {', '.join(ENDINGS)}")
    if not options.model:
        goes_with("--model", options, "backbone", "at_once", "geometry")
    if target.suffix != ".onnx":
        goes_with(f"a .onnx, not {target}", options, "input", "one_size")
    with usage_errors("convert"):
        write = write_network if target.suffix == ".onnx" else write_arrays
        outputs = Outputs([options.source], MARK)
        (free,), note = outputs.free(target.parent, target.stem, target.suffix)
        write(free, options, note)


def goes_with(other: str, options: argparse.Namespace, *names: str) -> None:
    """Reject options that say nothing without another one.

    Raises:
        UsageError: naming the first that was given.
    """
    for name in names:
        if getattr(options, name):
            raise UsageError(f"{flag(name)} goes with {other}")


def write_arrays(target: Path, options: argparse.Namespace, note: str) -> None:
    """Write the arrays of a file, or of the model that they are for."""
    file = weights.read(options.source)
    arrays, about = file.arrays, file.description
    if options.model:
        model, spec = load_model(options.source, options.model, **given_of(options))
        arrays, about = model.state_dict(), spec.to_dict()
    with atomic_write(target) as out:
        if target.suffix == ".npz":
            npz.write(out, arrays, MARK)
        else:
            out.writelines(safetensors.dump(arrays, file.preprocessing, about, software=MARK))
    total = sum(array.size for array in arrays.values())
    print(f"{target}: {len(arrays)} arrays, {total:,} numbers{note}")
    if target.suffix == ".npz" and file.preprocessing is not None:
        print(f"remember how images are prepared, a .npz does not: {file.preprocessing}")


def write_network(target: Path, options: argparse.Namespace, note: str) -> None:
    """Write the network that a file is for."""
    model, spec = load_model(options.source, options.model, **given_of(options))
    about = safetensors.as_metadata(spec.preprocessing, spec.to_dict())
    size = options.input or (spec.preprocessing.channels, *onnx.EXAMPLE[1:])
    metadata = {"software": MARK, **about}
    onnx.export(model, target, size, dynamic=not options.one_size, metadata=metadata)
    print(f"{target}: {spec}{note}")
    print(f"images {spec.preprocessing}")
