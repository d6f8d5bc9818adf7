"""The drill of ranks: trainings on several processes, of which one is killed again and again.

    python tests/drills/ranks.py [--kills 50] [--signals 10] [--seed 0] [--jobs 2] [--only CHAIN]

A try is one blow to a running ``mpiexec -n 2|4 tinyfcn train --same-bits``: SIGKILL to one of its
processes (--kills of them), and --signals each of SIGTERM to one or all, and SIGINT to all, as
after Ctrl-C. It falls at a random moment between start-up and end. Blows come in chains: killed,
resumed with 2 or 4 ranks, killed again, and at last with 1, 2 or 4; checkpoints are written after
every step.

Held: all ranks and mpiexec end within 10 s of the blow, with the exit status of the signal and
without a traceback; what they say is saved is saved; and when the chain has ended, weights,
optimizer, log and the names of all files are those of an undisturbed run of one process, bit by
bit. The picture of predictions may be an older one.

--only CHAIN tries one chain again, such as KILL/17, and says what happened.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "parallel"))
sys.path.insert(2, str(Path(__file__).resolve().parents[2]))

import chains
import mpiexec
import pytest
import tiny_run
from chains import Chain
from tiny_run import Ended

from tinyfcn.data import write_voc_tree

RANKS = (1, 2, 4)
LONGEST = 5  # blows of a chain
VARIANTS = ("one batch a step", "two batches a step")
# Four shards of two images each, and a last batch that has only two of them.
SHARED = ("--batch-size", "8", "--same-bits", "4", "--jitter", "0.2")
KILLED = (9, 137, 255)  # of MPICH, Open MPI, and MPICH where that upset mpiexec itself
PROGRAM = """
import sys
import tiny_run
tiny_run.quickly(curves=False)
sys.exit(tiny_run.cli.main(sys.argv[1:]))
"""


class Straight(NamedTuple):
    """The undisturbed runs: what one process left, by variant; seconds, by number of ranks."""

    contents: dict[str, dict[str, Any]]
    seconds: dict[int, float]


def undisturbed(folder: Path) -> Straight:
    """Write the data, and learn from it without a blow."""
    write_voc_tree(folder / "data", train=20, val=10, size=32, diameter=(16.0, 28.0))
    contents = {}
    for variant in VARIANTS:
        out = folder / variant
        quickly = functools.partial(tiny_run.quickly, curves=False)
        tiny_run.undisturbed(arguments(folder, out, variant), quickly)
        contents[variant] = tiny_run.contents(out)
    command = arguments(folder, folder / "timed", VARIANTS[0])
    timed = run(RANKS[1], command).seconds
    return Straight(contents, {n: timed * max(1, n / 2) for n in RANKS})


def arguments(folder: Path, out: Path, variant: str) -> list[str]:
    """What stands behind ``tinyfcn``."""
    return [*tiny_run.arguments(folder / "data", out, variant), *SHARED]


def run_chain(
    kind: str, number: int, seed: int, folder: Path, straight: Straight,
    tell: Callable[[str], object] = str,
) -> Chain:  # fmt: skip
    """Start, strike, resume, strike, ... let it end, and compare."""
    name = f"{kind}/{number}"
    draw = random.Random(f"{seed} {name}")
    variant, out = draw.choice(VARIANTS), folder / f"{kind}{number}"
    right, begin = straight.contents[variant], arguments(folder, out, variant)
    signum = chains.KINDS[kind][0]

    def attempt(struck: bool) -> Ended:
        n = draw.choice(RANKS[1:] if struck else RANKS)
        tell(f"  {n} ranks")
        if not struck:
            return run(n, chains.resumed(begin, out))
        blow, after = functools.partial(strike, signum, draw), draw.random() * straight.seconds[n]
        ended = run(n, chains.resumed(begin, out), blow, after)
        if ended.code in KILLED if kind == "KILL" else ended.code and not told(ended):
            ended = ended._replace(code=-signum)
        return ended

    return chains.play(name, draw.randint(1, LONGEST), attempt, out, right, tell)


def run(
    n: int, command: list[str], blow: Callable[[int], object] | None = None, after: float = 60.0
) -> Ended:
    """Run ``tinyfcn`` with these arguments on n ranks; call ``blow(pid of mpiexec)`` after so many
    seconds, and kill all of it if it has not ended ``tiny_run.PATIENCE`` later."""
    begun = struck = time.monotonic()
    process = mpiexec.start_ranks(n, ["-c", PROGRAM, *command])
    try:
        out, err = process.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        if blow is not None:
            blow(process.pid)
        struck = time.monotonic()
        try:
            _, out, err, _ = mpiexec.wait_for(process, tiny_run.PATIENCE)
        except pytest.fail.Exception as failed:
            return Ended(None, str(failed), time.monotonic() - begun, time.monotonic() - struck)
    now = time.monotonic()
    return Ended(process.returncode, (out + err).replace("\r", "\n"), now - begun, now - struck)


def told(ended: Ended) -> bool:
    """Whether the status is one of the command line; before it is loaded, and after it is done, a
    signal ends Python. MPICH then gives its number as status, which may be that of an error."""
    if ended.code == 2:
        return "error: " in ended.output
    return "run in" in ended.output and ended.code != signal.SIGTERM


def strike(number: int, draw: random.Random, launcher: int) -> None:
    """Send the signal to one of the launcher's ranks; SIGTERM perhaps, and SIGINT, to all."""
    while not (found := ranks_of(launcher)) and Path(f"/proc/{launcher}/exe").exists():
        time.sleep(0.01)
    if found and draw.random() < {signal.SIGKILL: 1.0, signal.SIGTERM: 0.5}.get(number, 0.0):
        found = [draw.choice(found)]
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def ranks_of(launcher: int) -> list[int]:
    """The processes that it has started, as far as they run Python."""
    found = []
    for pid in mpiexec.descendants(launcher):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_text().startswith(f"{sys.executable}\0-c\0"):
                found.append(pid)
    return sorted(found)


def begin(folder: Path, jobs: int) -> Callable[..., Chain]:
    """Learn without a blow; gives what plays a chain."""
    return functools.partial(run_chain, folder=folder, straight=undisturbed(folder))


def main(arguments: list[str] | None = None) -> int:
    """The drill; gives the exit status."""
    if why := mpiexec.why_not():
        print(f"ranks: skipped, there is no MPI: {why}")
        return 0
    text, kinds = __doc__ or "", ("KILL", "TERM", "INT")
    return chains.drill("ranks", text, kinds, LONGEST, begin, arguments, kills=50, signals=10)


if __name__ == "__main__":
    sys.exit(main())
