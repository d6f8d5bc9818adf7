"""Time layers, networks and training steps.

Each piece of work gets a fresh process, which does it once to warm up and repeats it. Peers have
processes of their own, and all take turns. The table gives

ms       median of the repetitions; ops run forward and backward
GFLOP/s  two for each multiply-add of the convolutions, counted by their shapes, over that time
sgemm    the same as a share of what a 2048³ float32 matrix product reaches at best on the threads
MB       peak memory of the whole process, interpreter and libraries included; not that of a GPU
ratios   ours / the peer's; below 1 is faster, or smaller

Of a peer's ways the best is shown: PyTorch eager, channels_last or, without --quick, compiled, as
installed and "+malloc", keeping freed memory as we do; onnxruntime and OpenVINO on our ONNX file.
With --scaling, the share of many ranks' throughput is computed from training steps and links of an
assumed speed: "over" if gradients are sent while backward goes on, "end" if after it. On a GPU, its
clock times the kernels, beside cuBLAS and cuDNN, and training steps; nothing new begins after four
minutes, and benchmark-gpu.txt has the table, to be sent in; not with --against or --conv.

tinyfcn benchmark                            everything, a few minutes
tinyfcn benchmark --quick                    the most telling part, half a minute
tinyfcn benchmark --only train "dilation 2"  what has one of these words in its name
tinyfcn benchmark --scaling --only fcn8s/4   how far a training step scales
tinyfcn benchmark --backend cupy             a GPU
tinyfcn benchmark --against torch,openvino --against-python ~/torch/bin/python
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tinyfcn.backend.cpu.threads import num_threads
from tinyfcn.backend.cuda.cupy_engine import CupyEngine
from tinyfcn.benchmark import gpu, report, scaling
from tinyfcn.benchmark.measure import Side, best, figures, measure
from tinyfcn.benchmark.peers import PEERS, missing, ways
from tinyfcn.benchmark.work import COPY, SGEMM, WORK, Work, train
from tinyfcn.cli.errors import UsageError, usage_errors, use_backend
from tinyfcn.cli.parser import Parser, checked, did_you_mean, number
from tinyfcn.training.run_folder import environment

peer_list = checked(
    lambda text: text.split(","), f"some of {', '.join(PEERS)} between commas",
    lambda names: {*names} <= {*PEERS}, PEERS,
)  # fmt: skip
SLOWING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # keep OpenBLAS from choosing its best kernel


def main(arguments: Sequence[str]) -> None:
    """Run ``tinyfcn benchmark`` with these arguments."""
    parser = Parser(__doc__ or "", prog="tinyfcn benchmark")
    add = parser.add_argument
    add("--only", nargs="+", default=[], metavar="WORD", help="work with such a name")
    add("--quick", action="store_true", help="less work, fewer repetitions")
    add("--list", action="store_true", help="print the names and stop")
    add("--seconds", type=number(0, 1e6), metavar="X",
        help="repeat each for so long (default 3, with --quick 1)")  # fmt: skip
    add("--against", type=peer_list, default=[], metavar="PEERS",
        help=f"let others do the same in turn: {', '.join(PEERS)}")  # fmt: skip
    add("--against-python", default=sys.executable, metavar="P", help="a Python that has them")
    add("--backend", default="numpy", metavar="NAME", help="what computes our side")
    add("--conv", metavar="NAME", help="force an algorithm of convolution (TINYFCN_CONV)")
    add("--out", type=Path, metavar="DIR", help="write benchmark.json and benchmark.png there")
    add("--scaling", action="store_true", help="simulate training steps of many ranks")
    add("--half-exchange", action="store_true", help="with --scaling: gradients in half the bytes")
    add("--faster", type=number(1e-3, 1e6), default=1.0, metavar="X",
        help="with --scaling: ranks so many times as fast")  # fmt: skip
    options = parser.parse(arguments)

    otherwise = options.against or options.conv or options.scaling or options.list
    if options.backend == "cupy" and not otherwise:
        return gpu.run(CupyEngine(), options.only, options.quick, options.out or Path())
    chosen = select(options.only, options.quick)
    if options.scaling:
        chosen = [work for work in chosen if work.kind is train]
        if not chosen or options.against or options.conv or options.out:
            raise UsageError("--scaling: for training steps, without --against, --conv and --out")
    if options.list:
        print("\n".join(f"{work.group:14}{work.name}" for work in chosen))
        return
    with usage_errors("TINYFCN_NUM_THREADS"):
        num_threads()
    forced = {"TINYFCN_CONV": options.conv} if options.conv else {}
    ours = Side(backend=options.backend, environment={**os.environ, **forced})
    python = options.against_python
    if absent := missing(options.against, python):
        raise UsageError("\n".join(
            f"--against {peer}: {python} has no {peer}. It is no part of tinyfcn: install it in "
            "any Python and name that one with --against-python" for peer in absent
        ))  # fmt: skip
    if "onnx" in map(PEERS.get, options.against) and not importlib.util.find_spec("onnx"):
        raise UsageError("--against: to write an ONNX file needs pip install 'tinyfcn[onnx]'")
    peers = [ways(peer, ours, python, options.quick) for peer in options.against]
    seconds = options.seconds or (1.0 if options.quick else 3.0)

    machine, peak = introduce(ours, seconds)
    if options.scaling:
        return simulate(chosen, options, seconds)
    results: list[dict[str, Any]] = []
    about: dict[str, Any] = {}
    for work in chosen:
        if not results or results[-1]["group"] != work.group:
            print("\n" + report.head(work.group, bool(peers)))
        print(f"  {work.name:24}", end="", flush=True)
        workers, failed = measure(work, ours, peers, seconds, least=3 if options.quick else 5)
        results.append(figures(work, workers, peak))
        about |= {worker.side.name: worker.about for worker in workers}
        print(report.row(results[-1]))
        for sentence in failed:
            print(f"  left out: {sentence}")
    if scaling := report.per_pixel(results):
        print("\n" + scaling)
    if options.out:
        written = report.save(options.out, {
            "machine": machine, "sgemm_gflops": peak, "sides": about, "conv": options.conv,
            "environment": environment(), "results": results,
        })  # fmt: skip
        print(f"\n{written}")


def select(words: Sequence[str], quick: bool) -> list[Work]:
    """The work whose group and name hold one of the words; all of it without any."""
    wanted = [word.lower() for word in words or [""]]
    chosen = [work for work in WORK if any(w in f"{work.group} {work.name}" for w in wanted)]
    if not chosen:
        known = {name for work in WORK for name in (work.name, *work.name.split())}
        near = did_you_mean(" ".join(words), known)
        raise UsageError(
            f"--only: nothing is called {' or '.join(words)}{near or '; --list tells the names'}"
        )
    return [work for work in chosen if work.quick or words or not quick]


def simulate(chosen: Sequence[Work], options: argparse.Namespace, seconds: float) -> None:
    """Print of each training step what was measured, and how it would scale."""
    use_backend(options.backend)
    for work in chosen:
        step = scaling.measure(work, seconds, 3)
        print(f"\n{work.name}, {work.arguments['n']} images a rank\nmeasured: {step}\n"
              f"assumed: ranks {options.faster:g} times as fast, numbers sent as "
              f"{'bfloat16' if options.half_exchange else 'float32'}, and the links")  # fmt: skip
        print(scaling.table(step.assuming(options.faster, options.half_exchange)))


def sgemm(side: Side, seconds: float) -> tuple[dict[str, Any], float]:
    """What the side says about itself, and the GFLOP/s of a matrix product at best."""
    about, least = best(SGEMM, side, seconds)
    return about, 2 * SGEMM.arguments["size"] ** 3 / least / 1e9


def introduce(ours: Side, seconds: float) -> tuple[str, float]:
    """Print what machine this is; returns its description, and the GFLOP/s of sgemm at best."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    about, peak = sgemm(ours, seconds)
    _, alone = sgemm(replace(ours, threads=1), seconds)
    _, copied = best(COPY, ours, seconds)
    machine = (
        f"{about['cpu']}, {about['threads']} threads, NumPy {about['numpy']}, {about['blas']}\n"
        f"a matrix product (sgemm 2048): {alone:.0f} GFLOP/s on 1 thread, {peak:.0f} on "
        f"{about['threads']}; a copy reads and writes "
        f"{8 * COPY.arguments['size'] / copied / 1e9:.1f} GB/s"
    )
    print(machine)
    if load > 0.5:
        print(f"the load average was {load:.1f} at the start: what else runs here falsifies times")
    forced = [f"{name}={os.environ[name]}" for name in SLOWING if name in os.environ]
    if forced:
        variables = {k: v for k, v in os.environ.items() if k not in SLOWING}
        _, free = sgemm(replace(ours, environment=variables), seconds)
        print(f"WARNING: {' '.join(forced)} is set; without it sgemm reaches {free:.0f} GFLOP/s. "
              "To measure what NumPy can do, unset it.")  # fmt: skip
    return machine, peak
