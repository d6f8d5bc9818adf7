"""Show a network layer by layer.

For each layer its output, parameters, multiply-adds, bytes and receptive field. Nothing is computed
and no memory is taken, so the answer comes at once.

tinyfcn summary fcn8s
tinyfcn summary fcn8s --input 3x375x500 --num-classes 2    for other images and classes
tinyfcn summary fcn8s width=0.25 geometry=reference        with other arguments
"""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Sequence
from typing import Any

from tinyfcn import models
from tinyfcn.cli.errors import usage_errors
from tinyfcn.cli.parser import Parser, checked, image_size, integer, one_of
from tinyfcn.models.registry import entry
from tinyfcn.models.table import summary_of


def main(arguments: Sequence[str]) -> None:
    """The command, called with its arguments."""
    parser = Parser(__doc__, prog="tinyfcn summary")
    add = parser.add_argument
    add("name", type=one_of(models.names()), metavar="NAME", help="which network")
    setting = checked(_setting, "KEY=VALUE", lambda pair: True)
    add("arguments", nargs="*", type=setting, metavar="KEY=VALUE", help="its other arguments")
    add("--input", type=image_size, metavar="CxHxW", help="size of an image (default: the table's)")
    add("--num-classes", type=integer(1), metavar="N", help="(default: 21, classifiers 1000)")
    options = parser.parse(arguments)
    # Where nothing else is asked for, the figures are those of the table.
    classes = {"num_classes": options.num_classes} if options.num_classes else {}
    chosen = {**entry(options.name).forms[0], **classes, **dict(options.arguments)}
    with usage_errors("the network"):
        print(summary_of(options.name, chosen, options.input))


def _setting(text: str) -> tuple[str, Any]:
    """``width=0.25`` as a name and a Python value; what is no number or word of Python is text."""
    name, value = text.split("=", 1)
    with contextlib.suppress(SyntaxError, ValueError):
        return name, ast.literal_eval(value)
    return name, value
