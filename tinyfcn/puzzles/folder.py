"""The reader's folder: the files to be filled in, and a note of those that have passed."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

from tinyfcn.puzzles.grade import PUZZLES
from tinyfcn.puzzles.puzzle import HERE, Puzzle

NOTE = "passed.txt"  # a hash of each file that passed, as it was then


def start(folder: Path) -> int:
    """Copy the files that are not there yet; gives their number. Nothing is written over.

    Raises:
        FileExistsError: if one is there, in a folder that was not made by this.
    """
    missing = [puzzle for puzzle in PUZZLES if not file(folder, puzzle).exists()]
    there = [puzzle for puzzle in PUZZLES if puzzle not in missing]
    if there and not (folder / NOTE).is_file():
        raise FileExistsError(errno.EEXIST, "is there already", str(file(folder, there[0])))
    for puzzle in missing:
        file(folder, puzzle).parent.mkdir(parents=True, exist_ok=True)
        with open(file(folder, puzzle), "xb") as new:
            new.write(puzzle.stub.read_bytes())
    (folder / NOTE).touch()
    return len(missing)


def file(folder: Path, puzzle: Puzzle) -> Path:
    """The reader's file."""
    return folder / puzzle.stub.relative_to(HERE)


def note(folder: Path, puzzle: Puzzle) -> None:
    """Remember that a file has passed."""
    if not has_passed(folder, puzzle):
        with open(folder / NOTE, "a", encoding="ascii") as notes:
            notes.write(f"{digest(file(folder, puzzle))}  {puzzle.stub.name}\n")


def has_passed(folder: Path, puzzle: Puzzle) -> bool:
    """Whether the file passed as it is now."""
    known = (folder / NOTE).read_text("utf-8", "replace").split()
    return digest(file(folder, puzzle)) in known


def is_begun(folder: Path, puzzle: Puzzle) -> bool:
    """Whether the file is there, and another than it was at the start."""
    return digest(file(folder, puzzle)) not in ("", digest(puzzle.stub))


def digest(path: Path) -> str:
    """Of what stands in a file, however its lines end; "" if there is none."""
    if not path.is_file():
        return ""
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()[:16]
