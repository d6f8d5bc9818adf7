"""What a reader's CUDA file answers, watched by the emulator."""

from __future__ import annotations

import functools
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tinyfcn.backend.cuda.emulator import BuildError, Cost, Emulator, KernelError
from tinyfcn.backend.cuda.launcher import Launcher
from tinyfcn.kernel_lab.cases import aligned
from tinyfcn.puzzles.limits import within
from tinyfcn.puzzles.puzzle import Case, Limit, Puzzle, Wrong

SEEDS = 1, 2  # orders of threads and blocks


def answers(puzzle: Puzzle, path: Path, case: Case) -> tuple[list[Any], list[Cost]]:
    """Compile the file and launch its kernel: the arrays that it filled, and what accesses cost.

    Raises:
        Wrong: if it does not compile, or does what it must not in one of two orders of threads.
        BuildError: if nothing can be compiled here.
    """
    arrays = [aligned(a) for a in case.arguments.values() if isinstance(a, np.ndarray)]
    numbers = [n for n in case.arguments.values() if not isinstance(n, np.ndarray)]
    with tempfile.TemporaryDirectory() as folder:  # where no other file stands in its way
        Path(folder, path.name).write_bytes(path.read_bytes())
        try:
            for seed in SEEDS:
                engine = Emulator("check", seed, profile=True, folder=Path(folder))
                engine.library(path.name)
                filled = [aligned(engine.empty(a.shape, a.dtype)) for a in case.expected.values()]
                work = puzzle.names[0], case.grid, case.block, *arrays, *filled, *numbers
                launch = functools.partial(Launcher(engine), *work)
                within(path, launch, (KernelError, TypeError, ValueError))
        except KernelError as error:
            raise Wrong(f"{error.kind}: {error}".removesuffix(" (race)")) from error
        except BuildError as error:
            errors = rf"^({re.escape(path.name)}:\d+):\d+: (?:fatal )?(error: .*)$"
            found = re.findall(errors, str(error), re.MULTILINE)
            if not found:  # there is no compiler
                raise
            raise Wrong("\n".join(map(": ".join, found[:3]))) from error
        except (OSError, TypeError, ValueError) as error:  # not what the text declares
            raise Wrong(re.sub(r"\S*/", "", str(error))) from error
    return filled, engine.profile()


def too_dear(costs: list[Cost], limits: tuple[Limit, ...]) -> None:
    """Raise ``Wrong`` if accesses cost more than they may."""
    for memory, access, what, most, why in limits:
        rows = [cost for cost in costs if (cost.memory, cost.access) == (memory, access)]
        total = sum(getattr(row, what) for row in rows)
        if total > most:
            unit = what if what != "cost" else "sectors" if memory == "global" else "turns"
            sums = f"{memory} {access}, {total} {unit}, where {most} are enough"
            raise Wrong(f"right, but too dear: {sums}: {why}\n{table(rows)}")


def table(costs: list[Cost]) -> str:
    """A line for each line of the file that accesses memory: what requests of warps take on
    average, beside the least if all threads want different elements."""
    head = "  A request of a warp takes sectors of 32 bytes (global), or turns (shared):"
    rows = (
        f"  line {c.line:3}  {c.memory:6} {c.access:7} {c.requests:6} requests x "
        f"{c.cost / c.requests:5.2f}, at least {min(c.least, c.cost) / c.requests:5.2f}"
        for c in sorted(costs, key=lambda c: (c.line, c.memory, c.access))
    )
    return "\n".join([head, *rows])
