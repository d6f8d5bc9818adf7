"""How the work is measured: a fresh process for each side, and the sides take turns.

A peer has several ways to do the work. Each is tried by itself first, and the best two take part
in the turns: with all of them at once neither time nor memory would suffice.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tinyfcn import models, onnx
from tinyfcn.backend.cpu.threads import num_threads
from tinyfcn.backend.errors import BackendError
from tinyfcn.benchmark.work import Work, infer

TRIAL = 0.25  # of the time that is measured, for each way of a peer
KEPT = 2  # of these ways
TURN = 0.2  # seconds of repetitions before the other side has its turn
PAUSE = 0.01  # seconds between turns, in which the threads of the last one come to rest


@dataclass(frozen=True)
class Side:
    """Who does the work: tinyfcn or a peer, in which way, and in which Python."""

    peer: str = "tinyfcn"
    way: str = ""
    library: str = "tinyfcn"  # the file with_….py that gives it what the work needs
    python: str = sys.executable
    backend: str = "numpy"
    environment: Mapping[str, str] | None = None  # of the process; None: as ours
    threads: int | None = None  # None: as ours

    @property
    def name(self) -> str:
        """As in the table, ``torch compiled``."""
        return f"{self.peer} {self.way}".strip()


class Worker:
    """A process that does one piece of work when it is told to; see ``worker.py``."""

    def __init__(self, side: Side, work: Work, network: str | None) -> None:
        self.side = side
        # The Python that has a peer need not have tinyfcn: there the worker is a script.
        script = [str(Path(__file__).with_name("worker.py"))]
        module = ["-m", "tinyfcn.benchmark.worker"]
        ours = side.library == "tinyfcn"
        self.process: Any = subprocess.Popen(
            [side.python, *(module if ours else script), side.library],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=side.environment,
        )  # fmt: skip
        ready = self.ask({
            "kind": work.kind.__name__, "arguments": dict(work.arguments), "peer": side.peer,
            "way": side.way, "threads": side.threads or num_threads(), "backend": side.backend,
            "network": network,
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

    def median(self) -> float:
        """Seconds of a repetition."""
        return statistics.median(self.seconds)

    def close(self) -> None:
        """Let the process end, which it does when nobody can tell it anything more."""
        with contextlib.suppress(BrokenPipeError), self.process:
            pass


def measure(
    work: Work, ours: Side, peers: Iterable[Sequence[Side]], seconds: float, least: int
) -> tuple[list[Worker], list[str]]:
    """Let our side and the best ways of each peer do the work in turn.

    Args:
        peers: the ways of each. Those of an ONNX file take part in inference only.
        seconds, least: how long, and how often, each of them repeats the work.

    Returns:
        Our worker and those of the best ways; and a sentence for each way that failed.

    Raises:
        BackendError: if our side cannot do it; says in which Python.
    """
    failed = []
    with contextlib.ExitStack() as stack:
        peers = [ways for ways in peers if work.kind is infer or ways[0].library != "onnx"]
        network = None
        if any(ways[0].library == "onnx" for ways in peers):
            network = stack.enter_context(exported(work))

        def start(side: Side) -> Worker:
            return stack.enter_context(contextlib.closing(Worker(side, work, network)))

        workers = [start(ours)]
        for ways in peers:
            kept: list[Worker] = []
            for side in ways:
                try:
                    worker = start(side)
                    worker.ask(0)  # once more to warm up
                    worker.turn(TRIAL * seconds if len(ways) > 1 else 0)
                except BackendError as error:
                    failed.append(str(error).splitlines()[0])
                    continue
                kept = sorted([*kept, worker], key=Worker.median)
                for slower in kept[KEPT:]:
                    slower.close()
                del kept[KEPT:]
            workers += kept
        for worker in workers:
            worker.ask(0)  # to warm up: the first time after all sides are there
            worker.seconds.clear()
        while any(sum(w.seconds) < seconds or len(w.seconds) < least for w in workers):
            for worker in workers:
                time.sleep(PAUSE)
                worker.turn(TURN)
    return workers, failed


@contextlib.contextmanager
def exported(work: Work) -> Iterator[str]:
    """An ONNX file with the network that the work runs, for images of its size."""
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, "network.onnx"))
        library = SimpleNamespace(models=models, inference=contextlib.nullcontext)
        library.normal = lambda *size: size
        library.ready = lambda model, _: lambda size: onnx.export(model, file, size, dynamic=False)
        work.kind(library, **work.arguments)()
        yield file


def best(work: Work, side: Side, seconds: float) -> tuple[dict[str, Any], float]:
    """What the side says about itself, and the least seconds that the work takes."""
    (worker,), _ = measure(work, side, (), seconds, 5)
    return worker.about, min(worker.seconds)


def figures(work: Work, workers: Sequence[Worker], peak: float) -> dict[str, Any]:
    """What one line shows: of our side, and under "against" of the best way of each peer."""
    ours, *others = workers
    result: dict[str, Any] = {"group": work.group, "name": work.name, **_figures(ours)}
    if ours.flops:
        result["gflops"] = ours.flops / result["seconds"] / 1e9
        result["share_of_sgemm"] = result["gflops"] / peak
    result["against"] = {}
    for peer in dict.fromkeys(other.side.peer for other in others):
        other = min((o for o in others if o.side.peer == peer), key=Worker.median)
        theirs = result["against"][peer] = _figures(other)
        theirs["time_ratio"] = result["seconds"] / theirs["seconds"]
        if ours.memory and other.memory:
            theirs["memory_ratio"] = ours.memory / other.memory
    return result


def _figures(worker: Worker) -> dict[str, Any]:
    return {
        "side": worker.side.name,
        "seconds": worker.median(),
        "all_seconds": worker.seconds,
        "memory": worker.memory,
    }
