"""What a network is made of, on the command line.

python -m tinyfcn.models                                          the table of all networks
python -m tinyfcn.models fcn8s                                    one of them, layer by layer
python -m tinyfcn.models fcn8s --input 3x375x500 --num-classes 2  for other images and classes
python -m tinyfcn.models fcn8s width=0.25 geometry=reference      with other arguments
"""

from __future__ import annotations

import argparse
import ast
import sys
from typing import Any

from tinyfcn import backend, models, summary
from tinyfcn.cli.errors import UsageError, plain_errors, usage_errors
from tinyfcn.cli.parser import Parser, image_size, integer, one_of
from tinyfcn.models.registry import entry
from tinyfcn.models.table import table, usual


def main() -> None:
    """The program; options as ``--help`` tells them."""
    parser = Parser(__doc__, prog="python -m tinyfcn.models")
    add = parser.add_argument
    add("name", nargs="?", type=one_of(models.names()), metavar="NAME", help="which network")
    add("arguments", nargs="*", type=_argument, metavar="KEY=VALUE", help="its other arguments")
    add("--input", type=image_size, metavar="CxHxW", help="size of an image (default: the table's)")
    add("--num-classes", type=integer(1), metavar="N", help="(default: 21, classifiers 1000)")
    options = parser.parse(sys.argv[1:])
    if options.name is None:
        if options.input or options.num_classes:
            raise UsageError("--input and --num-classes go with the NAME of a network")
        print(table())
        return
    # Where nothing else is asked for, the figures are those of the table.
    side, classes = usual(options.name)
    arguments = {
        "num_classes": options.num_classes or classes,
        **entry(options.name).forms[0],
        **dict(options.arguments),
    }
    with usage_errors("the network"):
        with backend.using("meta"):
            model = models.create(options.name, **arguments)
        print(summary(model, options.input or (3, side, side)))


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
