"""What a GPU makes of the kernels: a table beside cuBLAS and cuDNN, and a file that can be sent in.

Kernels and libraries are timed by the GPU's own clock, in this process. Networks have a process
each, as on the CPU. cuDNN is PyTorch's, where there is a PyTorch that finds the GPU.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from tinyfcn.backend.base import conv_sizes
from tinyfcn.backend.cuda import CudaBackend, gemm
from tinyfcn.backend.cuda.timing import Gpu, median_seconds
from tinyfcn.backend.errors import BackendError
from tinyfcn.benchmark.measure import Side, Worker, measure
from tinyfcn.benchmark.peers import ways
from tinyfcn.benchmark.report import MARK
from tinyfcn.benchmark.work import WORK, Work, conv
from tinyfcn.files import Outputs, write_bytes
from tinyfcn.kernel_lab.cases import CASES, for_a_gpu, multiply_adds, sizes
from tinyfcn.kernel_lab.work import exact, takes_half, verdicts, work
from tinyfcn.training.run_folder import environment

LIMIT = 240  # seconds, after which nothing new is begun
SIDES = 4096, 2048, 1024
NETWORKS = "train fcn8s/4 8x256x256", "train fcn8s 256x256", "train deeplabv3 513x513"
COPIED = 1 << 26  # floats
PASSES = {
    "conv2d": "forward", "conv2d_input_grad": "input", "conv2d_weight_grad": "weights",
    "conv2d_grads": "input and weights",
}  # fmt: skip
HEAD = (
    "ms          median, by the GPU's clock; of networks a training step, by the host's\n"
    "of peak     of float32 without tensor cores, or of memory, at the highest clocks\n"
    "cuBLAS ...  their ms, and ours / theirs: below 1 is faster"
)


class Figures(NamedTuple):
    """What one line shows."""

    seconds: float
    done: float = 0.0  # 10⁹ operations, or bytes
    unit: str = ""
    most: float = 0.0  # that a second could have, where it is known
    theirs: Mapping[str, float] = MappingProxyType({})  # seconds

    def __str__(self) -> str:
        line = f"{1000 * self.seconds:10.3f}"
        if self.unit:
            line += f"{self.done / self.seconds:10,.0f} {self.unit:8}"
            share = f"{self.done / self.seconds / self.most:.0%}" if self.most else ""
            line += f"{share:>5}"
        peers = (f"  {n} {1000 * s:.3f} ({self.seconds / s:.2f})" for n, s in self.theirs.items())
        return line + "".join(peers)


Job = tuple[str, str, Callable[[], Figures]]  # group, name, and what measures it


def run(engine: Any, words: Sequence[str], quick: bool, folder: Path) -> None:
    """Measure what has one of the words in its name, print it, and write benchmark-gpu.txt."""
    start, lines = time.perf_counter(), [MARK]

    def say(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    folder.mkdir(parents=True, exist_ok=True)  # before anything is measured
    (path,), note = Outputs([], MARK).free(folder, "benchmark-gpu", ".txt")
    gpu, torch = engine.gpu(), pytorch()
    named = [
        job for job in jobs(engine, gpu, torch, quick)
        if not words or any(word.lower() in f"{job[0]} {job[1]}".lower() for word in words)
    ]  # fmt: skip
    if not named:
        raise BackendError(f"nothing that a GPU is measured by is called {' or '.join(words)}")
    say(f"{gpu}\n{HEAD}")
    say("cuDNN: " + (f"of PyTorch {torch.__version__}" if torch else "no PyTorch finds the GPU"))
    try:
        say(f"\n{right(engine)}")
        left, group = [], ""
        for of, name, figures in named:
            if time.perf_counter() - start > LIMIT:
                left.append(name)
                continue
            if of != group:
                say(f"\n{of}")
                group = of
            try:
                say(f"  {name:36}{figures()}")
            except Exception as error:  # of a GPU with too little memory, or of a peer
                say(f"  {name:36}left out: {' '.join(str(error).split())[:100]}")
        if left:
            say(f"\nleft out, for lack of time: {', '.join(left)}")
    finally:  # what is known so far, also at Ctrl-C
        lines.append(f"\n{json.dumps(environment())}")
        write_bytes(path, "\n".join([*lines, ""]).encode())
        print(f"\n{path} has this table{note}: no GPU was at hand, so please send it in")


def right(engine: Any) -> str:
    """Whether every kernel computes what NumPy does."""
    wrong, half = [], [name for name in CASES if takes_half(engine.kernels[name])]
    tried = [*((name, "float32") for name in CASES), *((name, "float16") for name in half)]
    for name, dtype in tried:
        size = tuple(sizes(CASES[name]).values())
        _, results = work(engine, name, size, dtype)
        if not all(fine for fine, _ in verdicts(results, exact(name, size, dtype))):
            wrong.append(f"{name} of {dtype}")
    right = f"{len(tried) - len(wrong)} of {len(tried)} kernels of float32 and float16"
    said = f"; WRONG: {', '.join(wrong)}" if wrong else ""
    return f"{right} compute what NumPy does{said}"


def pytorch() -> Any:
    """The module torch, if it is there and finds a GPU."""
    if not importlib.util.find_spec("torch"):
        return None
    torch = importlib.import_module("torch")
    torch.backends.cudnn.benchmark = True  # takes the fastest of its algorithms
    return torch if torch.cuda.is_available() else None


def jobs(engine: Any, gpu: Gpu, torch: Any, quick: bool) -> Iterator[Job]:
    """All that is measured, in order."""
    backend = CudaBackend(engine)
    for side in SIDES[1:2] if quick else SIDES:
        for version in gemm.VERSIONS:
            name = f"gemm_{version} {side}x{side}x{side}"
            yield "matrix products", name, partial(product, backend, gpu, side, version)
    for line in WORK:
        if line.kind is conv and (line.quick or not quick):
            for which, passed in PASSES.items():
                figures = partial(convolution, backend, gpu, torch, line, which)
                yield "convolutions", f"{line.name}, {passed}", figures
    yield "memory", "a copy of 256 MiB", partial(copied, backend, gpu)
    for name in CASES:
        if not multiply_adds(name, for_a_gpu(CASES[name])) and not quick:
            yield "memory", name, partial(kernel, engine, gpu, name)
    for line in WORK:
        if line.name in NETWORKS[: 1 if quick else None]:
            yield "networks", line.name, partial(network, line, torch)


def product(backend: Any, gpu: Gpu, side: int, version: str) -> Figures:
    """One version of gemm, and cuBLAS."""
    a, b = (normal(backend, side, side) for _ in range(2))
    c = backend.empty((side, side), np.float32)
    with gemm.algorithm.using(version):
        ours = median_seconds(backend.engine, lambda: backend.gemm(a, b, c))
    theirs = median_seconds(backend.engine, lambda: backend.xp.matmul(a, b, out=c))
    return Figures(ours, 2 * side**3 / 1e9, "GFLOP/s", gpu.gflops, {"cuBLAS": theirs})


def convolution(backend: Any, gpu: Gpu, torch: Any, line: Work, which: str) -> Figures:
    """One of the three primitives, by the algorithm that the rule picks, and cuDNN's."""
    given = {"stride": 1, "dilation": 1, "groups": 1, **line.arguments}
    n, c, h, w, oc, k, stride, dilation, groups = (
        given[x] for x in ("n", "c", "h", "w", "out", "kernel", "stride", "dilation", "groups")
    )
    padding = dilation * (k // 2)
    window = (stride,) * 2, (padding,) * 2, (dilation,) * 2
    oh, ow = conv_sizes((h, w), (k, k), *window)
    shapes = (n, c, h, w), (oc, c // groups, k, k), (n, oc, oh, ow)
    x, weight, gy = (normal(backend, *shape) for shape in shapes)
    arguments: dict[str, Any] = {
        "conv2d": (x, weight, None), "conv2d_input_grad": (gy, weight, None, (h, w)),
        "conv2d_weight_grad": (x, gy, (k, k)),
        "conv2d_grads": (gy, None, x, weight, (True, True, False)),
    }  # fmt: skip
    primitive = getattr(backend, which)
    ours = median_seconds(backend.engine, lambda: primitive(*arguments[which], *window, groups))
    theirs = {}
    if torch:
        x, weight, gy = (torch.randn(shape, device="cuda") for shape in shapes)
        F, grad = torch.nn.functional, torch.nn.grad
        step = {
            "conv2d": lambda *rest: F.conv2d(x, weight, None, *rest),
            "conv2d_input_grad": lambda *rest: grad.conv2d_input(x.shape, weight, gy, *rest),
            "conv2d_weight_grad": lambda *rest: grad.conv2d_weight(x, weight.shape, gy, *rest),
        }
        step["conv2d_grads"] = lambda *rest: [step[which](*rest) for which in [*step][1:3]]
        for name, allowed in (("cuDNN", False), ("TF32", True)):
            torch.backends.cudnn.allow_tf32 = allowed
            theirs[name] = median_seconds(backend.engine, lambda: step[which](*window, groups))
    done = 2 * (1 + (which == "conv2d_grads")) * n * oc * (c // groups) * k * k * oh * ow / 1e9
    return Figures(ours, done, "GFLOP/s", gpu.gflops, theirs)


def copied(backend: Any, gpu: Gpu) -> Figures:
    """A copy of an array: what memory can do."""
    x, y = backend.zeros((COPIED,), np.float32), backend.empty((COPIED,), np.float32)
    seconds = median_seconds(backend.engine, lambda: backend.xp.copyto(y, x))
    return Figures(seconds, 8 * COPIED / 1e9, "GB/s", gpu.gbytes)


def kernel(engine: Any, gpu: Gpu, name: str) -> Figures:
    """One kernel, every array of which counts once."""
    recorder, _ = work(engine, name, for_a_gpu(CASES[name]), "float32", repeat=True)
    launch = recorder.of(name)[0]
    return Figures(launch.seconds, launch.bytes / 1e9, "GB/s", gpu.gbytes)


def network(line: Work, torch: Any) -> Figures:
    """A training step, and PyTorch's in the better of two ways."""
    ours = Side(backend="cupy")
    peers = [ways("torch", ours, sys.executable, quick=True)[::2]] if torch else []
    (own, *others), _ = measure(line, ours, peers, 1.0, 5)
    best = sorted(others, key=Worker.median)[:1]
    return Figures(own.median(), theirs={worker.side.name: worker.median() for worker in best})


def normal(backend: Any, *shape: int) -> Any:
    """Normal numbers."""
    return backend.as_array(np.random.default_rng(0).standard_normal(shape, np.float32))
