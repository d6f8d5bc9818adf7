"""How fast is it? Ops, layers, whole networks and training steps, alone or against PyTorch.

python examples/benchmark.py                            everything, a few minutes
python examples/benchmark.py --quick                    the most telling part, half a minute
python examples/benchmark.py --only train "dilation 2"  what has one of these words in its name
python examples/benchmark.py --list                     the names
python examples/benchmark.py --against torch --torch-python ~/torch/bin/python

Each piece of work gets a fresh process, which prepares it, does it once to warm up, and repeats it.
Against PyTorch there is a second process; the two take turns, so that they never run at the same
time and both see the same machine. The table gives

ms       median of the repetitions; ops run forward and backward
GFLOP/s  two for each multiply-add of the convolutions, counted by their shapes, over that time
sgemm    the same as a share of what a 2048³ float32 matrix product reaches at best on the threads
MB       peak memory of the whole process, interpreter and libraries included on both sides; not
         that of a GPU
ratios   ours / PyTorch's; below 1 is faster, or smaller
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import benchmark_report as report

from tinyfcn.backend.cpu.threads import num_threads
from tinyfcn.training.errors import UsageError, plain_errors, usage_errors
from tinyfcn.training.run_folder import environment

TURN = 0.2  # seconds of repetitions before the other side has its turn
PAUSE = 0.01  # seconds between turns, in which the threads of the last one come to rest
SLOWING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # keep OpenBLAS from choosing its best kernel

# ---- what is measured ----


@dataclass(frozen=True)
class Work:
    """One line of the table: ``kind`` is a function of benchmark_tinyfcn.py and of
    benchmark_torch.py."""

    group: str
    name: str
    kind: str
    arguments: Mapping[str, Any]
    quick: bool = False


def network(
    name: str, kind: str, n: int, h: int, w: int, quick: bool = False, **options: Any
) -> Work:
    return Work("networks", name, kind, {"n": n, "h": h, "w": w, **options}, quick)


def conv(
    name: str, c: int, out: int, size: int, kernel: int = 3, quick: bool = False, **options: Any
) -> Work:
    arguments = {"n": 1, "c": c, "h": size, "w": size, "out": out, "kernel": kernel, **options}
    return Work("convolutions", f"{name} @ {size}x{size}", "conv", arguments, quick)


def op(name: str, kind: str, **arguments: int) -> Work:
    return Work("other ops", name, kind, arguments)


SGEMM = Work("machine", "sgemm 2048", "sgemm", {"size": 2048})
QUARTER: dict[str, Any] = {"width": 0.25, "batch_norm": True}
WORK = [
    network("infer fcn8s 256x256", "infer", 1, 256, 256, quick=True),
    network("infer fcn8s 512x512", "infer", 1, 512, 512),
    network("infer fcn8s 1024x1024", "infer", 1, 1024, 1024),
    network("train fcn8s 256x256", "train", 1, 256, 256, quick=True),
    network("train fcn8s 512x512", "train", 1, 512, 512),
    network("train fcn8s 375x500", "train", 1, 375, 500),
    network("train fcn8s/4 8x256x256", "train", 8, 256, 256, **QUARTER),
    network("segnet stage 64x180x240", "segnet_stage", 1, 180, 240, c=64, quick=True),
    conv("3x3 3-64", 3, 64, 256),
    conv("3x3 64-64", 64, 64, 256),
    conv("3x3 64-128", 64, 128, 128),
    conv("3x3 128-128", 128, 128, 128),
    conv("3x3 256-256", 256, 256, 64, quick=True),
    conv("3x3 512-512", 512, 512, 32),
    conv("3x3 512-512", 512, 512, 16),
    conv("fc6 7x7 512-4096", 512, 4096, 16, kernel=7),
    conv("fc7 1x1 4096-4096", 4096, 4096, 16, kernel=1),
    conv("stride 2 256-256", 256, 256, 64, stride=2, quick=True),
    conv("dilation 2 256-256", 256, 256, 64, dilation=2, quick=True),
    conv("dilation 4 256-256", 256, 256, 64, dilation=4),
    conv("depthwise 128", 128, 128, 64, groups=128, quick=True),
    op("relu 64x256x256", "relu", n=1, c=64, h=256, w=256),
    op("max pool 64x256x256", "max_pool", n=1, c=64, h=256, w=256),
    op("batch norm 64x256x256", "batch_norm", n=1, c=64, h=256, w=256),
    op("bilinear x8 21x64x64", "bilinear", n=1, h=64, w=64, factor=8),
    op("cross entropy 21x512x512", "cross_entropy", n=1, h=512, w=512),
    op("sgd 16 M weights", "sgd", size=1 << 24),
    op("adam 16 M weights", "adam", size=1 << 24),
]


def select(words: Sequence[str], quick: bool) -> list[Work]:
    """The work whose group and name hold one of the words; all of it without any."""
    chosen = [
        work
        for work in WORK
        if not words or any(word.lower() in f"{work.group} {work.name}" for word in words)
    ]
    if not chosen:
        raise UsageError(f"--only: nothing is called {' or '.join(words)}; --list tells the names")
    return [work for work in chosen if work.quick or words or not quick]


# ---- how it is measured ----


@dataclass(frozen=True)
class Side:
    """Who does the work: tinyfcn or torch, and in which Python."""

    name: str
    python: str = sys.executable
    backend: str = "numpy"
    environment: Mapping[str, str] | None = None  # of the process; None: as ours


class Worker:
    """A process that does one piece of work when it is told to; see benchmark_worker.py."""

    def __init__(self, side: Side, work: Work) -> None:
        self.side = side
        job = {
            "kind": work.kind,
            "arguments": dict(work.arguments),
            "threads": num_threads(),
            "backend": side.backend,
        }
        script = Path(__file__).with_name("benchmark_worker.py")
        self.process = subprocess.Popen(
            [side.python, str(script), side.name, json.dumps(job)],
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
        times: list[float] = answer["seconds"]
        return times

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
            raise UsageError(f"{self.side.name} in {self.side.python}: {answer['error']}")
        return answer


def measure(work: Work, sides: Sequence[Side], seconds: float, least: int) -> list[Worker]:
    """Let the sides do the work in turn, for ``seconds`` and ``least`` repetitions each."""
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


# ---- what comes out ----


def result(work: Work, workers: Sequence[Worker], peak: float) -> dict[str, Any]:
    """The figures of one line: of our side, and under "against" of the other."""
    ours, *others = workers
    figures: dict[str, Any] = {"group": work.group, "name": work.name, **_figures(ours)}
    if ours.flops:
        figures["gflops"] = ours.flops / figures["seconds"] / 1e9
        figures["share_of_sgemm"] = figures["gflops"] / peak
    for other in others:
        theirs = figures["against"] = {"side": other.side.name, **_figures(other)}
        figures["time_ratio"] = figures["seconds"] / theirs["seconds"]
        if figures["memory"] and theirs["memory"]:
            figures["memory_ratio"] = figures["memory"] / theirs["memory"]
    return figures


def _figures(worker: Worker) -> dict[str, Any]:
    return {
        "seconds": statistics.median(worker.seconds),
        "all_seconds": worker.seconds,
        "memory": worker.memory,
    }


# ---- the program ----


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", nargs="+", default=[], metavar="WORD", help="work with such a name")
    add("--quick", action="store_true", help="less work, fewer repetitions")
    add("--list", action="store_true", help="print the names and stop")
    add("--seconds", type=float, help="repeat each for so long (default 3, with --quick 1)")
    add("--against", choices=["torch"], help="let PyTorch do the same in turn")
    add("--torch-python", default=sys.executable, metavar="PATH", help="a Python that has PyTorch")
    add("--backend", default="numpy", metavar="NAME", help="what computes our side")
    add("--conv", metavar="NAME", help="force an algorithm of convolution (TINYFCN_CONV)")
    add("--out", type=Path, metavar="DIR", help="write benchmark.json and benchmark.png there")
    return parser.parse_args(arguments)


def introduce(ours: Side, seconds: float) -> tuple[str, float]:
    """Print what machine this is; gives its description, and the GFLOP/s of sgemm at best."""

    def rate(side: Side) -> tuple[Worker, float]:
        (worker,) = measure(SGEMM, [side], seconds, 5)
        size: int = SGEMM.arguments["size"]
        return worker, 2 * size**3 / min(worker.seconds) / 1e9

    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    worker, peak = rate(ours)
    about = worker.about
    machine = f"{about['cpu']}, {about['threads']} threads, NumPy {about['numpy']}, {about['blas']}"
    print(f"{machine}\na matrix product (sgemm 2048): {peak:.0f} GFLOP/s")
    if load > 0.5:
        print(f"the load average was {load:.1f} at the start: what else runs here falsifies times")
    forced = [f"{name}={os.environ[name]}" for name in SLOWING if name in os.environ]
    if forced:
        variables = {k: v for k, v in os.environ.items() if k not in SLOWING}
        _, free = rate(Side("tinyfcn", ours.python, ours.backend, variables))
        print(f"WARNING: {' '.join(forced)} is set; without it sgemm reaches {free:.0f} GFLOP/s. "
              "To measure what NumPy can do, unset it.")  # fmt: skip
    return machine, peak


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    chosen = select(options.only, options.quick)
    if options.list:
        print("\n".join(f"{work.group:14}{work.name}" for work in chosen))
        return
    with usage_errors("TINYFCN_NUM_THREADS"):
        num_threads()
    forced = {"TINYFCN_CONV": options.conv} if options.conv else {}
    ours = Side("tinyfcn", backend=options.backend, environment={**os.environ, **forced})
    sides = [ours]
    if options.against:
        sides.append(Side(options.against, options.torch_python))
        check_torch(options.torch_python)
    seconds = options.seconds or (1.0 if options.quick else 3.0)

    machine, peak = introduce(ours, seconds)
    results: list[dict[str, Any]] = []
    for work in chosen:
        if not results or results[-1]["group"] != work.group:
            print("\n" + report.head(work.group, options.against))
        print(f"  {work.name:24}", end="", flush=True)
        workers = measure(work, sides, seconds, least=3 if options.quick else 5)
        results.append(result(work, workers, peak))
        print(report.row(results[-1]))
    if scaling := report.per_pixel(results):
        print("\n" + scaling)
    if options.out:
        about = {worker.side.name: worker.about for worker in workers}
        report.save(options.out, {
            "machine": machine, "sgemm_gflops": peak, "sides": about, "conv": options.conv,
            "environment": environment(), "results": results,
        })  # fmt: skip


def check_torch(python: str) -> None:
    """Say in time, and in a clear word, that PyTorch is not there."""
    try:
        done = subprocess.run([python, "-c", "import torch"], capture_output=True, check=False)
    except OSError as error:
        raise UsageError(f"--torch-python: {python}: {error.strerror}") from error
    if done.returncode:
        raise UsageError(
            f"--against torch: {python} has no PyTorch. It is no part of tinyfcn: install it in "
            "any Python and name that one with --torch-python"
        )


if __name__ == "__main__":
    with plain_errors():
        main()
