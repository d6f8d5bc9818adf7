"""Thirty tasks that grade themselves: layers, CUDA kernels, and planted bugs.

start copies them into a folder, each a file with a text and an empty function. Fill one in, and
check it: sizes and numbers that no text shows are asked too, and kernels are watched for races in
the emulator, which needs g++ and no GPU. A check runs your file as any other program of yours.

tinyfcn puzzles start          copy them to puzzles/; no file is ever written over
tinyfcn puzzles check 1        grade one, by its number or file: expected beside got
tinyfcn puzzles check          grade all that were begun
tinyfcn puzzles hint 1         where to look; hint 1 2 says how it is done
tinyfcn puzzles solution 1     a solution
tinyfcn puzzles status         how far you are
"""

from __future__ import annotations

import argparse
import os
import shlex
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

from tinyfcn.cli.errors import UsageError
from tinyfcn.cli.parser import Parser, did_you_mean
from tinyfcn.puzzles.folder import NOTE, file, has_passed, is_begun, note
from tinyfcn.puzzles.folder import start as copy_to
from tinyfcn.puzzles.grade import LADDERS, PUZZLES, grade
from tinyfcn.puzzles.kernel_files import table
from tinyfcn.puzzles.limits import Endless
from tinyfcn.puzzles.picture import GREEN, RED, coloured
from tinyfcn.puzzles.puzzle import Puzzle, Wrong

USUAL = Path("puzzles")
WIDE = 30  # of a bar


def main(arguments: Sequence[str]) -> int:
    """Run a command of ``tinyfcn puzzles``; returns the exit status."""
    command, *rest = arguments or ["--help"]
    if command.startswith("-"):
        Parser(__doc__ or "", prog="tinyfcn puzzles", usage="%(prog)s COMMAND ...").parse([command])
    if command not in COMMANDS:
        near = did_you_mean(command, COMMANDS) or f"; there are {', '.join(COMMANDS)}"
        raise UsageError(f"puzzles: unknown command {command}{near}")
    parser = Parser(COMMANDS[command].__doc__ or "", prog=f"tinyfcn puzzles {command}")
    add = parser.add_argument
    if command == "start":
        add("folder", nargs="?", type=Path, default=USUAL, metavar="DIR", help="default: puzzles")
    if command in ("check", "hint", "solution"):
        many = "*" if command == "check" else None
        add("puzzle", nargs=many, metavar="N", help="its number, or its file")
    if command == "hint":
        add("level", nargs="?", type=int, choices=[1, 2], default=1, help="2: how it is done")
    if command in ("check", "status"):
        add("--folder", type=Path, metavar="DIR", help="default: this one, or puzzles in it")
    return COMMANDS[command](parser.parse(rest))


def known(word: str) -> Puzzle:
    """The puzzle of a number or a file.

    Raises:
        UsageError: if there is none; suggests the nearest.
    """
    names = {str(p.number): p for p in PUZZLES} | {p.stub.stem: p for p in PUZZLES}
    stem = Path(word).stem.lstrip("0" * word.isdecimal())
    if stem not in names:
        near = "" if stem.isdecimal() else did_you_mean(stem, names)
        near = near or f"; there are 1 to {len(PUZZLES)}"
        raise UsageError(f"no puzzle is called {word}{near}")
    return names[stem]


def opened(named: Path | None, word: str = "") -> Path:
    """The folder of the puzzles: the one that is named, else that of a file, else one near here.

    Raises:
        UsageError: if it is none; says how to make one.
    """
    if named is None and Path(word).is_file():
        named = Path(word).resolve().parents[1]
    for path in [named] if named else [Path(), USUAL, Path("..")]:
        if (path / NOTE).is_file():
            return path
    where = f"in {named}" if named else "here"
    raise UsageError(f"no puzzles {where}: tinyfcn puzzles start makes a folder of them")


# ---- the commands ----


def start(options: argparse.Namespace) -> int:
    """Copy all puzzles into a folder. What is there already stays as it is."""
    folder = options.folder
    first = file(folder, PUZZLES[0])
    copied = copy_to(folder)
    kept = f", {len(PUZZLES) - copied} kept as they are" if copied < len(PUZZLES) else ""
    print(f"{copied} puzzles copied to {folder}{os.sep}{kept}. Begin with {first}; then:")
    there = "" if folder in (Path(), USUAL) else f" --folder {shlex.quote(str(folder))}"
    print(f"tinyfcn puzzles check 1{there}")
    return 0


def check(options: argparse.Namespace) -> int:
    """Grade some puzzles, or all that were begun; status 1 if one is not right."""
    chosen = [(known(word), opened(options.folder, word)) for word in options.puzzle]
    if not chosen:
        folder = opened(options.folder)
        chosen = [(puzzle, folder) for puzzle in PUZZLES if is_begun(folder, puzzle)]
        if not chosen:
            print(f"Nothing is begun yet: fill in {file(folder, PUZZLES[0])}")
    right = 0
    for puzzle, folder in chosen:
        name = file(folder, puzzle)
        if not name.is_file():
            raise UsageError(f"{name} is not there; tinyfcn puzzles start {folder} copies it again")
        try:
            costs = grade(puzzle, name)
        except Wrong as error:
            print(f"{name.name}: {coloured('not right', RED)}: {error}\n", flush=True)
            if isinstance(error, Endless) and puzzle.is_kernel:
                print("A kernel cannot be stopped, so this check ends here.")
                break
            continue
        right += 1
        note(folder, puzzle)
        asked = f"{len(puzzle.sizes)} cases{', each in two orders of threads' * puzzle.is_kernel}"
        print(f"{name.name}: {coloured('right', GREEN)}, {asked}", flush=True)
        if costs and len(chosen) == 1:
            print(f"  The last case:\n{table(costs)}")
    if len(chosen) > 1:
        print(f"{right} of {len(chosen)} right")
    return 0 if chosen and right == len(chosen) else 1


def hint(options: argparse.Namespace) -> int:
    """Say where to look, or, at level 2, how it is done."""
    puzzle = known(options.puzzle)
    print(textwrap.fill(puzzle.hints()[options.level - 1], 79))
    if options.level == 1:
        print(f"(tinyfcn puzzles hint {puzzle.number} 2 says how it is done)")
    return 0


def solution(options: argparse.Namespace) -> int:
    """Print a solution, and the hints to it."""
    print(known(options.puzzle).solution.read_text("utf-8"), end="")
    return 0


def status(options: argparse.Namespace) -> int:
    """How far you are: which files passed their last check, and have not changed since."""
    folder = opened(options.folder)
    for ladder in LADDERS:
        done = [has_passed(folder, puzzle) for puzzle in ladder]
        full = WIDE * sum(done) // len(done)
        print(f"{ladder.name:8} [{'#' * full}{'.' * (WIDE - full)}] {sum(done)} of {len(done)}")
        for puzzle, passed in zip(ladder, done, strict=True):
            state = "right" if passed else "begun" if is_begun(folder, puzzle) else ""
            print(f"  {state:6} {puzzle.stub.name:26} {puzzle.title}")
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "start": start, "check": check, "hint": hint, "solution": solution, "status": status,
}  # fmt: skip
