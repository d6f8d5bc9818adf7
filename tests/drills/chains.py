"""Chains of blows to a training: struck, resumed, struck again, and in the end compared."""

from __future__ import annotations

import functools
import re
import signal
import tempfile
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple

import drilling
import tiny_run
from tiny_run import Ended

from tinyfcn.training.run_folder import holds_run

# The signal of each kind of blow, and the exit statuses that are right after it.
KINDS = {
    "KILL": (signal.SIGKILL, {-9}),
    "TERM": (signal.SIGTERM, {143, -15}),
    "INT": (signal.SIGINT, {130, -2}),
    "HUP": (signal.SIGHUP, {129, -1}),
    "PIPE": (signal.SIGINT, {130, -2, 141, -13}),
}


class Chain(NamedTuple):
    """What became of a chain: its blows, and what went wrong."""

    tries: int
    problems: list[str]


def play(
    name: str, blows: int, attempt: Callable[[bool], Ended], out: Path, right: dict[str, Any],
    tell: Callable[[str], object],
) -> Chain:  # fmt: skip
    """Strike, resume, strike, ... let it end, and compare.

    Args:
        name: of the chain, such as KILL/17.
        blows: at most.
        attempt: begins or goes on; whether it is struck.
        out: the run folder.
        right: what an undisturbed run left.
        tell: is told what happens.
    """
    tries, problems = 0, []
    for _ in range(blows):
        ended = attempt(True)
        tell(f"{name} → {ended.code} after {ended.seconds:.3f} s: {ended.last_line}")
        if ended.code == 0:
            break
        tries += 1
        found = wrong(name.partition("/")[0], ended, out)
        problems += [f"{name}, blow {tries}: {text}" for text in found]
    if not problems:
        ended = attempt(False)
        tell(f"{name} → {ended.code} after {ended.seconds:.3f} s")
        if ended.code != 0:
            problems.append(f"{name}: cannot be resumed ({ended.code}): {ended.last_line}")
        elif found := tiny_run.differences(right, without_picture(out, right)):
            problems.append(f"{name}: {found}")
    return Chain(tries, problems)


def without_picture(out: Path, right: dict[str, Any]) -> dict[str, Any]:
    """What a run left, as if its picture of predictions were right."""
    found = tiny_run.contents(out)
    names = sorted({*found["files"], "predictions.png"})
    return {**found, "files": names, "predictions.png": right["predictions.png"]}


def resumed(command: list[str], out: Path) -> list[str]:
    """The command that goes on; before there is a checkpoint, the one that begins."""
    return [*command, "--resume"] if holds_run(out) else command


def wrong(kind: str, ended: Ended, out: Path) -> list[str]:
    """What was not as it must be at a blow."""
    if ended.code is None:
        return [f"no end {tiny_run.PATIENCE:g} s after the blow"]
    found = []
    if ended.code not in KINDS[kind][1]:
        found.append(f"exit status {ended.code}: {ended.last_line}")
    # Python itself says so, where a signal ends it before the command line is loaded.
    if "Traceback" in ended.output and ended.code > 0:
        found.append(f"a traceback: {ended.last_line}")
    saved = re.search(r"iteration (\d+) of \d+ is saved", ended.output)
    if saved and int(saved[1]) != tiny_run.iteration(out):
        found.append(f"{saved[0]}, it says; iteration {tiny_run.iteration(out)} is")
    return found


def drill(
    name: str, text: str, kinds: Collection[str], longest: int,
    begin: Callable[[Path, int], Callable[..., Chain]], arguments: list[str] | None,
    **numbers: int,
) -> int:  # fmt: skip
    """A whole drill; gives the exit status.

    Args:
        name, text: its name, and the text of its help.
        kinds: of blows.
        longest: blows of a chain.
        begin: given a folder and the number of jobs, what plays a chain, given its kind, its
            number and the seed.
        arguments: of the command line.
        numbers: how many "kills" and "signals" where it does not say.
    """
    parser = drilling.options(text, **numbers)
    parser.add_argument("--only", metavar="CHAIN", help="one chain, such as KILL/17")
    chosen = parser.parse_args(arguments)
    since, tries, problems = time.monotonic(), 0, []
    with tempfile.TemporaryDirectory(prefix="drill-") as folder:
        task = functools.partial(begin(Path(folder), chosen.jobs), seed=chosen.seed)
        if chosen.only:
            kind, number = chosen.only.split("/")
            one = task(kind, int(number), tell=print)
            return drilling.summary(name, one.tries, one.problems, since)
        for kind in kinds:
            wanted, done, number = chosen.kills if kind == "KILL" else chosen.signals, 0, 0
            failed = []
            while done < wanted:
                more = range(number, number + max(1, (wanted - done) // longest))
                number = more.stop
                for chain in drilling.spread(functools.partial(task, kind), more, chosen.jobs):
                    done += chain.tries
                    failed += chain.problems
            print(f"{kind:4}  tries {done:4}, failed {len(failed)}, in {number} chains", flush=True)
            tries, problems = tries + done, problems + failed
    return drilling.summary(name, tries, problems, since)
