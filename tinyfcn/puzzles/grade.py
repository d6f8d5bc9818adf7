"""Grades a file: the example, then sizes and numbers that no text shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tinyfcn.backend.cuda.emulator import Cost
from tinyfcn.puzzles import functions, kernel_files, picture
from tinyfcn.puzzles.bugs.cases import bug
from tinyfcn.puzzles.kernels.cases import kernel
from tinyfcn.puzzles.layers.cases import layer
from tinyfcn.puzzles.puzzle import Array, Puzzle, Wrong

LADDERS = layer, kernel, bug
PUZZLES = [puzzle for ladder in LADDERS for puzzle in ladder]

# How far a number may be off, as a part of the largest that is expected, or of 1.
TOLERANCES = {np.dtype(np.float64): 1e-9, np.dtype(np.float32): 1e-5}


def grade(puzzle: Puzzle, path: Path) -> list[Cost]:
    """Ask everything of a reader's file; gives what the accesses of a kernel cost in the end.

    Raises:
        Wrong: with what is wrong in the first case that is.
    """
    costs: list[Cost] = []
    for number in range(len(puzzle.sizes)):
        case = puzzle.case(number)
        try:
            if puzzle.is_kernel:
                results, costs = kernel_files.answers(puzzle, path, case)
            else:
                results = functions.answers(puzzle, path, case)
            for (name, expected), result in zip(case.expected.items(), results, strict=True):
                compare(name, expected, result)
            kernel_files.too_dear(costs, case.limits)
        except Wrong as error:
            which = "the example" if number == 0 else f"case {number + 1} of {len(puzzle.sizes)}"
            raise type(error)(f"{which}, {case}:\n{error}") from error
    return costs


def compare(name: str, expected: Array, result: Any) -> None:
    """Raise ``Wrong`` if a result is not what is expected; integers may have any size."""
    kind = expected.dtype.kind
    if result is None:
        raise Wrong(f"{name}: expected {expected.dtype} {expected.shape}, got nothing yet (None)")
    try:
        got = np.asarray(float(result) if type(result) is int and kind == "f" else result)
    except ValueError as error:  # of lists of different lengths
        raise Wrong(f"{name}: expected an array {expected.shape}: {error}") from error
    if got.shape != expected.shape:
        raise Wrong(f"{name}: expected the shape {expected.shape}, got {got.shape}")
    if got.dtype.kind != kind or (kind == "f" and got.dtype != expected.dtype):
        raise Wrong(f"{name}: expected numbers of type {expected.dtype}, got {got.dtype}")
    allowed = TOLERANCES.get(expected.dtype, 0) * float(np.abs(expected).max(initial=1))
    with np.errstate(invalid="ignore"):
        off = np.abs(got.astype(np.float64) - expected)
        wrong = ~(off <= allowed)  # also where it is NaN
    if wrong.any():
        bound = f"off by more than {allowed:.1g}" if allowed else "wrong"
        raise Wrong(f"{name}: {wrong.sum()} of {wrong.size} numbers are {bound}\n"
                    + picture.compared(name, expected, got, wrong))  # fmt: skip
