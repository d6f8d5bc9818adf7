"""What the kernel room shows of a launch, as the emulator records it; each launch is run once."""

from __future__ import annotations

import math
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinyfcn.backend.cuda import kernels
from tinyfcn.backend.cuda.emulator import Emulator, KernelError
from tinyfcn.backend.cuda.emulator.errors import ACCESSES
from tinyfcn.explorer.settings import plain
from tinyfcn.kernel_lab.work import work

WARP = 32
WAIT = len(ACCESSES)  # the kind of a step that is no access
BARRIER = re.compile(r"\b__sync\w+\s*\([^()]*\)\s*;")


class Run(NamedTuple):
    """A launch of which a block was recorded.

    Attributes:
        costs: of its lines: those of the emulator's profile.
        events: by warp, what its lanes do together, in order; and by lane, which of them it does.
    """

    function: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    costs: list[Any]
    warps: list[tuple[list[dict[str, Any]], list[list[int]]]]
    results: list[Any]


@lru_cache(48)
def run(name: str, size: tuple[int, ...], block: int) -> Run:
    """Run a kernel and record a block of it."""
    engine = Emulator("check", profile=True, trace=block)
    recorder, results = work(engine, name, size, np.float32)
    launch = recorder.of(name)[0]
    trace = next(trace for trace in engine.traces if trace.function == launch.function)
    costs = [cost for cost in engine.profile() if cost.kernel == launch.function]
    steps, count = trace.steps, -(-int(np.prod(launch.block)) // WARP)
    named = _Names(trace)
    warps = [_warp(steps[steps["thread"] // WARP == warp], named) for warp in range(count)]
    return Run(launch.function, launch.grid, launch.block, costs, warps, results)


class _Names:
    """What addresses and places in the code are called."""

    def __init__(self, trace: Any) -> None:
        self.places = trace.library.places(np.unique(trace.steps["code"]).tolist())
        kernel = kernels.declared()[trace.function.split("<")[0]]
        self.lines = {kernel.file: source(kernel.file), **{
            path.name: source(path.name) for path in sorted(kernels.folder().glob("*.cuh"))
        }}  # fmt: skip
        self.arrays = [(name, a) for name, a in trace.arrays if isinstance(a, np.ndarray)]
        self.shared = trace.library.shared_arrays(trace.function)

    def barrier(self, line: int) -> str:
        """The file in which threads wait at this line."""
        for file, lines in self.lines.items():
            if line <= len(lines) and re.search("__(sync|shfl|ballot|a)", lines[line - 1]):
                return file
        return ""

    def array(self, address: int, size: int, shared: bool) -> tuple[str, int, int, Any]:
        """The variable that holds an address: its name, where it begins there, how many bytes lie
        before it in its first sector or in shared memory, and the type of its elements."""
        if shared:
            first, dtype = self.shared[0][0], np.dtype("f8" if size == 8 else "f4")
            within = (one for one in self.shared if one[0] <= address < one[0] + one[1])
            at, _, name = next(within, (first, 0, "shared"))
            return name, at, at - first, dtype
        for name, array in self.arrays:
            begin = array.ctypes.data
            if begin <= address < begin + array.nbytes:
                return name, begin, begin % 32, array.dtype
        return "?", address, 0, np.dtype("f4")

    def value(self, v: Any, dtype: Any) -> float | str | None:
        """A number in five digits, as more are not shown; of a pointer what it points to."""
        if dtype == np.uint64:
            return self.array(v, 8, False)[0]
        return float(f"{v:.5g}") if math.isfinite(v) else None


def _warp(steps: Any, named: _Names) -> tuple[list[dict[str, Any]], list[list[int]]]:
    """The requests and the waits of a warp, and by lane which it takes part in."""
    visits: dict[tuple[int, int], int] = {}
    keys = []
    for kind, request, line, thread in steps[["kind", "request", "line", "thread"]].tolist():
        if kind == WAIT:
            nth = visits[thread, line] = visits.get((thread, line), 0) + 1
            keys.append((line, nth))
        else:
            keys.append((-1, request))
    events: dict[tuple[int, int], list[int]] = {}
    for at, key in enumerate(keys):
        events.setdefault(key, []).append(at)
    numbers = {key: number for number, key in enumerate(events)}
    lanes: list[list[int]] = [[] for _ in range(WARP)]
    for key, thread in zip(keys, steps["thread"].tolist(), strict=True):
        lanes[thread % WARP].append(numbers[key])
    return [_event(steps[at], named) for at in events.values()], lanes


def _event(steps: Any, named: _Names) -> dict[str, Any]:
    """One request of a warp, or one wait."""
    first = steps[0]
    kind, size, shared = int(first["kind"]), int(first["size"]), bool(first["shared"])
    lanes = (steps["thread"] % WARP).tolist()
    if kind == WAIT:
        line = int(first["line"])
        return {"file": named.barrier(line), "line": line, "access": "waits", "lanes": lanes}
    file, line = named.places[int(first["code"])]
    name, begin, shift, dtype = named.array(int(first["address"]), size, shared)
    values = np.ascontiguousarray(steps["value"][:, :size]).view(dtype)
    return {
        "file": file, "line": line, "access": ACCESSES[kind], "lanes": lanes,
        "memory": "shared" if shared else "global", "name": name, "shift": shift,
        "bytes": dtype.itemsize, "each": size // dtype.itemsize,
        "at": ((steps["address"].astype(np.int64) - begin) // dtype.itemsize).tolist(),
        "values": [named.value(v, dtype) for v in values.ravel().tolist()],
        "cost": int(first["cost"]), "least": int(first["least"]),
    }  # fmt: skip


# ---- the source ----


def source(file: str) -> list[str]:
    """The lines of a file of kernels."""
    return (kernels.folder() / file).read_text("utf-8").splitlines()


def listing(name: str, run: Run) -> list[dict[str, Any]]:
    """The parts of the source that the kernel runs through: those that hold one of its lines."""
    kernel = kernels.declared()[name]
    hit: dict[str, set[int]] = {kernel.file: {kernel.body - 1}}
    for file, line in {(c.file, c.line) for c in run.costs} | {*barriers(run)}:
        hit.setdefault(file, set()).add(line)
    parts = []
    for file in (kernel.file, *sorted(hit.keys() - {kernel.file, ""})):
        lines = source(file)
        blank = [True, *(not text.strip() for text in lines)]  # the line before
        starts = [i for i, text in enumerate(lines) if i == 0 or (blank[i] and text[:1].strip())]
        for begin, end in pairwise([*starts, len(lines)]):
            if any(begin < line <= end for line in hit[file]):
                text = "\n".join(lines[begin:end]).rstrip().split("\n")
                parts.append({"file": file, "first": begin + 1, "lines": text})
    return parts


def barriers(run: Run) -> list[tuple[str, int]]:
    """Where the threads of the block wait: file and line, in the order of the source."""
    found = {(event["file"], event["line"]) for events, _ in run.warps for event in events
             if event["access"] == "waits"}  # fmt: skip
    return sorted(found, key=lambda place: (place[0].endswith("h"), place))


# ---- without a barrier ----


@contextmanager
def without(file: str, line: int) -> Iterator[Path]:
    """A copy of the folder of kernels without the barrier at a line; the lines stay in place."""
    with tempfile.TemporaryDirectory() as temporary:
        for path in kernels.folder().glob("*.cu*"):
            shutil.copy(path, temporary)
        copy = Path(temporary, file)
        lines = copy.read_text("utf-8").split("\n")
        lines[line - 1] = BARRIER.sub("", lines[line - 1])
        copy.write_text("\n".join(lines), "utf-8")
        yield Path(temporary)


@lru_cache(64)
def race(name: str, size: tuple[int, ...], cut: tuple[str, int], seed: int) -> dict[str, Any]:
    """What comes out without a barrier, in an order of threads drawn from a seed, and what the
    check of races says."""
    right = run(name, size, 0).results
    with without(*cut) as folder:
        fault = report = None
        try:
            got = work(Emulator(seed=seed, folder=folder), name, size, np.float32)[1]
        except KernelError as error:  # threads wait for each other
            got, fault = right, str(error)
        try:
            work(Emulator("check", seed=seed, folder=folder), name, size, np.float32)
        except KernelError as error:
            here = [error.file, error.line, error.block, error.thread]
            other = [error.other_file, error.other_line, error.other_block, error.other_thread]
            places = [here, other] if error.kind == "race" else [here]
            report = {"kind": error.kind, "said": str(error), "places": places}
    return {"cut": cut, "seed": seed, "fault": fault, "report": report, **_wrong(got, right)}


def _wrong(got: Sequence[Any], right: Sequence[Any]) -> dict[str, Any]:
    """Where results differ, of the first that does."""
    pairs = [(g, r, np.flatnonzero(g.ravel() != r.ravel()))
             for g, r in zip(got, right, strict=True)]  # fmt: skip
    g, r, at = next((pair for pair in pairs if len(pair[2])), pairs[0])
    shown = at[:6].tolist()
    places = [[int(i) for i in np.unravel_index(one, r.shape)] for one in shown]
    columns = r.shape[-1] if r.ndim else 1
    return {"shape": r.shape, "rows": r.size // columns, "columns": columns, "wrong": at.tolist(),
            "shown": [[place, plain(g.ravel()[[one]])[0], plain(r.ravel()[[one]])[0]]
                      for place, one in zip(places, shown, strict=True)]}  # fmt: skip
