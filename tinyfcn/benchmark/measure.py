"""How the work is measured: a fresh process for each side, and the sides take turns."""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyfcn.backend.cpu.threads import num_threads
from tinyfcn.backend.errors import BackendError
from tinyfcn.benchmark.work import SGEMM, Work

TURN = 0.2  # seconds of repetitions before the other side has its turn
PAUSE = 0.01  # seconds between turns, in which the threads of the last one come to rest


@dataclass(frozen=True)
class Side:
    """Who does the work: tinyfcn or torch, and in which Python."""

    name: str
    python: str = sys.executable
    backend: str = "numpy"
    environment: Mapping[str, str] | None = None  # of the process; None: as ours


class Worker:
    """A process that does one piece of work when it is told to; see ``worker.py``."""

    def __init__(self, side: Side, work: Work) -> None:
        self.side = side
        # The Python that has PyTorch need not have tinyfcn: there the worker is a script.
        script = [str(Path(__file__).with_name("worker.py"))]
        module = ["-m", "tinyfcn.benchmark.worker"]
        command = [side.python, *(module if side.name == "tinyfcn" else script), side.name]
        self.process: Any = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=side.environment
        )
        ready = self.ask({
            "kind": work.kind.__name__, "arguments": dict(work.arguments),
            "threads": num_threads(), "backend": side.backend,
        })  # fmt: skip
        self.about: dict[str, Any] = ready["about"]
        self.flops: int | None = ready["flops"]
        self.seconds: list[float] = []
        self.memory: int | None = None

    def ask(self, message: Any) -> dict[str, Any]:
        """Send a line of JSON, and wait for the one that answers it."""
        with contextlib.suppress(BrokenPipeError):  # the answer will be missing
            print(json.dumps(message), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline() or '{"error": "the process has died"}'
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            self.close()
            raise BackendError(f"{self.side.name} in {self.side.python}: {answer['error']}")
        return answer

    def turn(self, seconds: float) -> None:
        """Repeat the work for at least so long, and note how long each repetition takes."""
        answer = self.ask(seconds)
        self.seconds += answer["seconds"]
        self.memory = answer["memory"]

    def close(self) -> None:
        """Let the process end, which it does when nobody can tell it anything more."""
        with contextlib.suppress(BrokenPipeError), self.process:
            pass


def measure(work: Work, sides: Sequence[Side], seconds: float, least: int) -> list[Worker]:
    """Let the sides do the work in turn, for ``seconds`` and ``least`` repetitions each.

    Raises:
        BackendError: if a side cannot do it; says which, and in which Python.
    """
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(contextlib.closing(Worker(s, work))) for s in sides]
        for worker in workers:
            worker.ask(0)  # once more to warm up: the first time after all sides are there
        while any(sum(w.seconds) < seconds or len(w.seconds) < least for w in workers):
            for worker in workers:
                time.sleep(PAUSE)
                worker.turn(TURN)
    return workers


def sgemm(side: Side, seconds: float) -> tuple[dict[str, Any], float]:
    """What the side says about itself, and the GFLOP/s of a matrix product at best."""
    (worker,) = measure(SGEMM, [side], seconds, 5)
    return worker.about, 2 * SGEMM.arguments["size"] ** 3 / min(worker.seconds) / 1e9


def figures(work: Work, workers: Sequence[Worker], peak: float) -> dict[str, Any]:
    """What one line shows: of our side, and under "against" of the other."""
    ours, *others = workers
    result: dict[str, Any] = {"group": work.group, "name": work.name, **_figures(ours)}
    if ours.flops:
        result["gflops"] = ours.flops / result["seconds"] / 1e9
        result["share_of_sgemm"] = result["gflops"] / peak
    for other in others:
        theirs = result["against"] = {"side": other.side.name, **_figures(other)}
        result["time_ratio"] = result["seconds"] / theirs["seconds"]
        if result["memory"] and theirs["memory"]:
            result["memory_ratio"] = result["memory"] / theirs["memory"]
    return result


def _figures(worker: Worker) -> dict[str, Any]:
    return {
        "seconds": statistics.median(worker.seconds),
        "all_seconds": worker.seconds,
        "memory": worker.memory,
    }
