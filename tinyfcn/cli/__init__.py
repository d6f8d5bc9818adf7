"""The command line: ``tinyfcn COMMAND``, or ``python -m tinyfcn COMMAND``.

Each command is a module with a function ``main(arguments)``; its docstring begins with the line
that stands below and ends with the examples of its ``--help``. It is imported when it is called.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tinyfcn
from tinyfcn import starting

COMMANDS = {
    "train": ("tinyfcn.examples.train_voc", "Train a network that labels pixels."),
    "check": ("tinyfcn.cli.check", "Look at a folder of data before anything is learned from it."),
    "predict": ("tinyfcn.examples.predict", "Label the pixels of images with a trained network."),
    "evaluate": ("tinyfcn.cli.evaluate", "Score a trained network."),
    "convert": ("tinyfcn.cli.convert", "Convert a file of weights to another format."),
    "summary": ("tinyfcn.cli.summary", "Show a network layer by layer."),
    "models": ("tinyfcn.cli.models", "List all networks with their size and cost."),
    "benchmark": ("tinyfcn.cli.benchmark", "Time layers, networks and training steps."),
    "explore": ("tinyfcn.cli.explore", "See what happens inside a layer, in a browser."),
    "lessons": ("tinyfcn.cli.lessons", "Short scripts to read, run and change, one for each idea."),
    "kernels": ("tinyfcn.cli.kernels", "Run, check and profile the CUDA kernels one by one."),
    "puzzles": (
        "tinyfcn.cli.puzzles",
        "Thirty tasks that grade themselves: layers, CUDA kernels, and planted bugs.",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; gives its exit status.

    Args:
        arguments: the command and its own arguments, ``sys.argv[1:]`` by default.
    """
    from tinyfcn.cli.errors import UsageError, plain_errors
    from tinyfcn.cli.parser import did_you_mean
    from tinyfcn.parallel.launch import launched, once

    command, *rest = [*(sys.argv[1:] if arguments is None else arguments)] or ["--help"]
    with plain_errors():
        starting.started()
        if command in ("-h", "--help"):
            print(overview())
            return 0
        if command == "--version":
            print(f"tinyfcn {tinyfcn.__version__}")
            return 0
        if command not in COMMANDS:
            near = did_you_mean(command, COMMANDS) or f"; there are {', '.join(COMMANDS)}"
            raise once(UsageError(f"unknown command {command}{near}"))
        if command not in ("train", "evaluate") and (ranks := launched()) > 1:
            raise once(UsageError(f"{command} runs in one process, and {ranks} were started"))
        status: int | None = load(COMMANDS[command][0]).main(rest)
        return status or 0


def overview() -> str:
    """What ``tinyfcn --help`` says."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(
        ["usage: tinyfcn COMMAND ...", "", "Fully convolutional networks from scratch.", "", *lines]
        + ["", "tinyfcn COMMAND --help tells the options of a command."]
    )


def load(module: str) -> Any:
    """Import the module of a command.

    ``tinyfcn.examples`` is the folder examples/, which lies inside the package where tinyfcn is
    installed, and beside it in a checkout that is not: that is looked into last.
    """
    beside = str(Path(__file__).resolve().parents[2])
    if beside not in tinyfcn.__path__:
        tinyfcn.__path__.append(beside)
    return importlib.import_module(module)
