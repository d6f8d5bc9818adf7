"""List all networks with their size and cost.

Multiply-adds are those of one image. The receptive field and the stride, in pixels of the image,
are those of the coarsest map, where the classes are read off.

tinyfcn models             the table, in Markdown
tinyfcn summary fcn8s      one of them, layer by layer
"""

from __future__ import annotations

from collections.abc import Sequence

from tinyfcn.cli.parser import Parser
from tinyfcn.models.table import table


def main(arguments: Sequence[str]) -> None:
    """The command, called with its arguments."""
    Parser(__doc__, prog="tinyfcn models").parse(arguments)
    print(table())
