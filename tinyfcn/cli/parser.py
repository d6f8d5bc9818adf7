"""The argument parser of all commands, and types of their options."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import itertools
import re
import sys
import textwrap
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NoReturn, TypeVar

from tinyfcn import parallel

T = TypeVar("T")


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, with the nearest right option; its help ends in examples.

    Args:
        text: the docstring of the command: what it does, and, as its last paragraph, examples.
        options: of ``argparse.ArgumentParser``; ``prog`` is the command as it is typed.

    Example:
        >>> parser = Parser("Double a number.\\n\\ntinyfcn double 7   14", prog="tinyfcn double")
        >>> _ = parser.add_argument("number", type=integer(0))
        >>> parser.parse(["7"]).number
        7
    """

    def __init__(self, text: str, **options: Any) -> None:
        about, gap, examples = text.strip().rpartition("\n\n")
        shown = "examples:\n" + textwrap.indent(textwrap.dedent(examples), "  ")
        super().__init__(
            description=about if gap else text,
            epilog=shown if gap else None,
            allow_abbrev=False,
            **{"formatter_class": argparse.RawDescriptionHelpFormatter, **options},
        )

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """The options; they may stand before, between and after what has no name."""
        for argument in itertools.takewhile(lambda argument: argument != "--", arguments):
            name = argument.partition("=")[0]
            if name.startswith("--") and name not in self._option_string_actions:
                self.error(f"unknown option {name}{self._nearest(name)}")
        # argparse forgets about "--" where it lets options stand between files.
        parse = self.parse_args if "--" in arguments else self.parse_intermixed_args
        return parse(arguments)

    def _nearest(self, name: str) -> str:
        """An option is found by its name, and by the words that its help begins with."""
        found: dict[str, str] = {}
        for option, action in self._option_string_actions.items():
            words = re.split(r",| [(\[]", action.help or "")[0]
            found.setdefault(words.replace(" ", "-"), option)
            found[option.lstrip("-")] = option
        near = difflib.get_close_matches(name.lstrip("-"), found, 1)
        return f"; did you mean {found[near[0]]}?" if near else ""

    def error(self, message: str) -> NoReturn:
        """Leave the program with status 2, and the other ranks too."""
        if message.startswith(known := "unrecognized arguments: "):
            message = f"one word too many, {message[len(known) :]}; lists have no blanks: a,b"
        message += "" if message.endswith("?") else " (--help lists the options)"
        text = f"error: {message}"
        print(text, file=sys.stderr)
        parallel.group().end(parallel.RankFailed(message, 2), text, 2)


class CompactHelp(argparse.RawDescriptionHelpFormatter):
    """Two options share a line where both are short, so that many fit one screen."""

    def add_arguments(self, actions: Iterable[argparse.Action]) -> None:
        """Add the options of a group."""
        lines: list[str] = []
        for action in actions:
            if action.help == argparse.SUPPRESS:
                continue
            name = self._format_action_invocation(action)
            if isinstance(action, argparse.BooleanOptionalAction):
                name = f"--[no-]{action.option_strings[0][2:]}"
            line = f"{name:18}  {self._expand_help(action)}"
            if lines and max(len(line), len(lines[-1])) < self._width // 2 - 1:
                lines[-1] = f"{lines[-1]:{self._width // 2}}{line}"
            else:
                lines.append(line)
        self._add_item("".join, [[f"  {line}\n" for line in lines]])


def did_you_mean(word: str, known: Collection[str]) -> str:
    """The end of a message about an unknown word.

    Example:
        >>> did_you_mean("fcn9s", ["fcn8s", "unet"]), did_you_mean("linear", ["fcn8s", "unet"])
        ('; did you mean fcn8s?', '')
    """
    near = difflib.get_close_matches(word, known, 1)
    return f"; did you mean {near[0]}?" if near else ""


# ---- types of options ----


def checked(
    kind: Callable[[str], T], what: str, holds: Callable[[T], Any], words: Collection[str] = ()
) -> Callable[[str], T]:
    """For the type of an option: what ``kind`` makes of the text, if that ``holds``, which is if
    it does not give False, and neither of them raises ValueError.

    Raises:
        argparse.ArgumentTypeError: else, with what was expected and the nearest of ``words``.
    """

    def parse(text: str) -> T:
        with contextlib.suppress(ValueError):
            value = kind(text)
            if holds(value) is not False:
                return value
        near = did_you_mean(text, words)
        raise argparse.ArgumentTypeError(f"expected {what}, got {text!r}{near}")

    return parse


def one_of(names: Collection[str]) -> Callable[[str], str]:
    """For the type of an option that is one of some words."""
    return checked(str, f"one of {', '.join(names)}", lambda text: text in names, names)


def integer(least: int) -> Callable[[str], int]:
    """For the type of an option that is an integer."""
    return checked(int, f"an integer of at least {least}", lambda n: n >= least)


def number(least: float, most: float) -> Callable[[str], float]:
    """For the type of an option that is a number."""
    return checked(float, f"a number between {least:g} and {most:g}", lambda x: least <= x <= most)


def sizes(text: str) -> tuple[int, ...]:
    """``3x500x500`` as numbers."""
    return tuple(map(int, text.split("x")))


def limits(text: str | None) -> tuple[float, ...]:
    """``0,4095`` as numbers; none for no text."""
    return tuple(map(float, text.split(","))) if text else ()


image_size = checked(sizes, "3x500x500", lambda sizes: True)  # as integers
