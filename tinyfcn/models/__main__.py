"""What a network is made of, on the command line.

python -m tinyfcn.models                                          the table of all networks
python -m tinyfcn.models fcn8s                                    one of them, layer by layer
python -m tinyfcn.models fcn8s --input 3x375x500 --num-classes 2  for other images and classes
python -m tinyfcn.models fcn8s width=0.25 geometry=reference      with other arguments
"""

from __future__ import annotations

import argparse
import ast
from typing import Any

from tinyfcn import backend, models, summary
from tinyfcn.models.table import table
from tinyfcn.training.errors import plain_errors, usage_errors
from tinyfcn.training.options import image_size


def main() -> None:
    """The program; options as ``--help`` tells them."""
    parser = argparse.ArgumentParser(
        prog="python -m tinyfcn.models",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("name", nargs="?", choices=models.names(), metavar="NAME", help="which network")
    add("arguments", nargs="*", type=_argument, metavar="KEY=VALUE", help="its other arguments")
    add(
        "--input", type=image_size, default=(3, 500, 500), metavar="CxHxW", help="default 3x500x500"
    )
    add("--num-classes", type=int, default=21, metavar="N", help="default 21")
    options = parser.parse_intermixed_args()
    if options.name is None:
        print(table())
        return
    arguments = {"num_classes": options.num_classes, **dict(options.arguments)}
    with usage_errors("the network"):
        with backend.using("meta"):
            model = models.create(options.name, **arguments)
        print(summary(model, options.input))


def _argument(text: str) -> tuple[str, Any]:
    """``width=0.25`` as a name and a Python value; what is no number or word of Python is text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, got {text!r}")
    try:
        return name, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return name, value


if __name__ == "__main__":
    with plain_errors():
        main()
