"""The kill drill: trainings that are killed again and again must end as if nothing had been.

    python tests/drills/kill.py [--kills 1000] [--signals 100] [--seed 0] [--jobs 2] [--only CHAIN]

A try is one blow to a running ``tinyfcn train``: SIGKILL (--kills of them), and --signals each of
SIGTERM, SIGINT, SIGHUP, and SIGINT to the process group while the reader of the output ends, as
with ``train 2>&1 | tee log``. It falls at a random moment between start-up and end, or at a random
file operation: a write, sync, rename or removal. Blows come in chains, as in life: killed, resumed,
killed again. Now and then the last checkpoint is damaged in between, one run in eight draws its
curves, one in 25 is a new Python instead of a fork, and checkpoints are written after every step.

Held: the process ends within 10 s of the blow, with the exit status of the signal and without a
traceback; what it says is saved is saved; and when the chain has ended, weights, optimizer, log and
the names of all files are those of an undisturbed run, bit by bit. The picture of predictions may
be an older one: it is drawn after the weights are safe, and not again.

--only CHAIN tries one chain again, such as KILL/17, and says what happened. The moments follow from
the seed; where a blow by the clock hits, the machine has a say.
"""

from __future__ import annotations

import functools
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).resolve().parents[2]))

import chains
import tiny_run
from chains import Chain
from tiny_run import Ended, FileOperations, Process

LONGEST = 8  # blows of a chain


class Undisturbed(NamedTuple):
    """A run that nothing happened to: what it left, how long it took, its file operations."""

    contents: dict[str, Any]
    seconds: float
    operations: int


class Straight(dict[str, Undisturbed]):
    """An undisturbed run of each variant, made when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __missing__(self, variant: str) -> Undisturbed:
        out, operations = self.folder / f"{variant} {os.getpid()}", FileOperations()

        def prepare() -> None:
            tiny_run.quickly(curves=False)
            operations.watch()

        command = tiny_run.arguments(self.folder / "data", out, variant)
        seconds = tiny_run.undisturbed(command, prepare).seconds
        self[variant] = Undisturbed(tiny_run.contents(out), seconds, operations.done)
        return self[variant]


def run_chain(
    kind: str, number: int, seed: int, folder: Path, straight: Straight,
    tell: Callable[[str], object] = str,
) -> Chain:  # fmt: skip
    """Start, strike, resume, strike, ... let it end, and compare."""
    name = f"{kind}/{number}"
    draw = random.Random(f"{seed} {name}")
    variant = draw.choice(list(tiny_run.OPTIONS))
    curves = draw.random() < 0.125
    real = draw.random() < 0.06 and variant != "drawn scenes"  # of which it would score 200
    right, out = straight[variant], folder / f"{kind}{number}"
    begin = tiny_run.arguments(folder / "data", out, variant)
    tell(f"{name}: {variant}, curves {curves}, real {real}")

    def attempt(struck: bool) -> Ended:
        if not struck:
            prepare = functools.partial(tiny_run.quickly, curves)
            return Process(chains.resumed(begin, out), prepare).wait()
        if draw.random() < 0.2:
            tell(f"  {damage(out, draw)}")
        return strike(kind, draw, chains.resumed(begin, out), out, right, curves, real)

    return chains.play(name, draw.randint(2, LONGEST), attempt, out, right.contents, tell)


def strike(
    kind: str, draw: random.Random, command: list[str], out: Path, right: Undisturbed,
    curves: bool, real: bool,
) -> Ended:  # fmt: skip
    """Run the command until the blow falls."""
    number = chains.KINDS[kind][0]
    steps = right.contents["last.npz"]["progress"]["iteration"]
    left = 1 - (tiny_run.iteration(out) / steps if out.exists() else 0)
    operation = 0
    if kind != "PIPE" and not real and draw.random() < 0.5:
        operation = draw.randint(1, 5 + int(left * right.operations))

    def hit(done: int, operation_name: str, path: str) -> None:
        if done == operation:
            os.kill(os.getpid(), number)

    def prepare() -> None:
        tiny_run.quickly(curves)
        if operation:
            FileOperations().watch(hit)

    process = Process(command, prepare, real)
    if operation:
        return process.wait()

    def blow() -> None:
        if kind == "PIPE":
            process.close_pipe()
            os.killpg(process.pid, number)
        else:
            os.kill(process.pid, number)

    after = draw.random() * (0.05 + left * right.seconds + (curves * 0.3) + (real * 1.0))
    return process.wait(blow, after)


def damage(out: Path, draw: random.Random) -> str:
    """Cut the last checkpoint short or change a byte, if there is one before it."""
    last = out / "last.npz"
    if not last.exists() or sum(p.name != "best.npz" for p in out.glob("*.npz")) < 2:
        return ""
    data = bytearray(last.read_bytes())
    place = draw.randrange(len(data))
    if cut := draw.random() < 0.5:
        del data[place:]
    else:
        data[place] ^= 1 << draw.randrange(8)
    last.write_bytes(data)
    return f"last.npz {'cut at' if cut else 'changed in'} byte {place}"


def begin(folder: Path, jobs: int) -> Callable[..., Chain]:
    """Write the data; gives what plays a chain."""
    tiny_run.write_data(folder / "data")
    straight = Straight(folder)
    if jobs > 1:  # else each process would make its own
        for variant in tiny_run.OPTIONS:
            straight[variant]
    return functools.partial(run_chain, folder=folder, straight=straight)


def main(arguments: list[str] | None = None) -> int:
    """The drill; gives the exit status."""
    text, kinds = __doc__ or "", chains.KINDS
    return chains.drill("kill", text, kinds, LONGEST, begin, arguments, kills=1000, signals=100)


if __name__ == "__main__":
    sys.exit(main())
