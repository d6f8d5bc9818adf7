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
from tinyfcn.benchmark.work import SGEMM, Work

TURN = 0.2  # seconds of repetitions before the other side has its turn
PAUSE = 0.01  # seconds between turns, in which the threads of the last one come to rest


class WorkerError(RuntimeError):
    """A side cannot do the work; says which, and in which Python."""


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
        job = {
            "kind": work.kind.__name__,
            "arguments": dict(work.arguments),
            "threads": num_threads(),
            "backend": side.backend,
        }
        # The Python that has PyTorch need not have tinyfcn: there the worker is a script.
        package = [str(Path(__file__).with_name("worker.py"))]
        if side.name == "tinyfcn":
            package = ["-m", "tinyfcn.benchmark.worker"]
        self.process = subprocess.Popen(
            [side.python, *package, side.name, json.dumps(job)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=side.environment,
        )  # fmt: skip
        self.seconds: list[float] = []
        self.memory: int | None = None
        ready = self._answer()
        self.about: dict[str, Any] = ready["about"]
        self.flops: int | None = ready["flops"]

    def turn(self, seconds: float) -> list[float]:
        """Repeat the work for at least so long; the time of each repetition."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the answer will be missing
            print(seconds, file=self.process.stdin, flush=True)
        answer = self._answer()
        self.memory = answer["memory"]
        return list(answer["seconds"])

    def close(self) -> None:
        """Let the process end, which it does when nobody can tell it anything more."""
        with contextlib.suppress(BrokenPipeError), self.process:
            pass

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": "the process has died"}
        if "error" in answer:
            self.close()
            raise WorkerError(f"{self.side.name} in {self.side.python}: {answer['error']}")
        return answer


def measure(work: Work, sides: Sequence[Side], seconds: float, least: int) -> list[Worker]:
    """Let the sides do the work in turn, for ``seconds`` and ``least`` repetitions each.

    Raises:
        WorkerError: if a side cannot do it.
    """
    with contextlib.ExitStack() as stack:
        workers = []
        for side in sides:
            workers.append(Worker(side, work))
            stack.callback(workers[-1].close)
        for worker in workers:
            worker.turn(0)  # once more to warm up: the first time after all sides are there
        while any(sum(w.seconds) < seconds or len(w.seconds) < least for w in workers):
            for worker in workers:
                time.sleep(PAUSE)
                worker.seconds += worker.turn(TURN)
    return workers


def sgemm(side: Side, seconds: float) -> tuple[dict[str, Any], float]:
    """What the side says about itself, and the GFLOP/s of a matrix product at best."""
    (worker,) = measure(SGEMM, [side], seconds, 5)
    size: int = SGEMM.arguments["size"]
    return worker.about, 2 * size**3 / min(worker.seconds) / 1e9


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
