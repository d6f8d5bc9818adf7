"""Does what ``cases.py`` has for a kernel, on an engine and on NumPy, and compares."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tinyfcn.backend.base import Backend
from tinyfcn.backend.cuda import CudaBackend
from tinyfcn.backend.cuda.emulator import Emulator
from tinyfcn.backend.cuda.kernels import Kernel
from tinyfcn.backend.cuda.timing import median_seconds
from tinyfcn.backend.errors import BackendError
from tinyfcn.backend.half import HALF
from tinyfcn.kernel_lab.cases import CASES, Inputs, aligned, sizes

ROUNDINGS = 4  # of an operand of the largest value
ALLOWED = 64  # units in the last place of the largest value, of a sum of some hundred terms


class Unfit(BackendError):
    """A kernel cannot be run on a size."""


class Launch(NamedTuple):
    """What was run once."""

    function: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    seconds: float
    bytes: int  # of its arrays, each read or written once


def takes_half(kernel: Kernel) -> bool:
    """Whether its arrays may be float16."""
    return not {"half", "Fp16"}.isdisjoint(kernel.types)


class Recorder:
    """An engine that remembers what another one ran. Its arrays begin where those of a GPU may.

    With ``repeat`` each launch is repeated, and timed by the clock of the device: what comes out of
    kernels that work in place is then wrong.
    """

    def __init__(self, engine: Any, repeat: bool = False) -> None:
        self.engine = engine
        self.repeat = repeat
        self.launches: list[Launch] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)  # what is not here the other one does

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        array = self.engine.empty(shape, dtype)
        return aligned(array) if self.xp is np else array

    def run(self, file: str, function: str, grid: Any, block: Any, *rest: Any) -> None:
        if isinstance(self.engine, Emulator):
            self.engine.library(file)  # compiled before the clock starts
        launch = functools.partial(self.engine.run, file, function, grid, block, *rest)
        start = time.perf_counter()
        launch()
        self.engine.synchronize()
        seconds = time.perf_counter() - start
        if self.repeat:
            seconds = median_seconds(self.engine, launch)
        given = (a for some in rest[0] for a in (some if isinstance(some, list) else [some]))
        arrays = {id(a): a.nbytes for a in given if getattr(a, "ndim", 0)}
        self.launches.append(Launch(function, grid, block, seconds, sum(arrays.values())))

    def of(self, name: str) -> list[Launch]:
        """The launches of one kernel."""
        return [launch for launch in self.launches if launch.function.split("<")[0] == name]


def work(
    engine: Any,
    name: str,
    size: tuple[int, ...],
    dtype: Any,
    whole: bool = False,
    repeat: bool = False,
) -> tuple[Recorder, list[Any]]:
    """Do the work of a kernel: what was launched, and the results as NumPy arrays.

    Args:
        whole: of small whole numbers, see ``Inputs``.
        repeat: time each launch on the device, see ``Recorder``.

    Raises:
        Unfit: if the kernel cannot be run on this size, or dtype.
        BuildError: if it does not compile.
    """
    if dtype == HALF and not takes_half(engine.kernels[name]):
        raise Unfit(f"{name}: takes no arrays of float16")
    recorder = Recorder(engine, repeat)
    backend: Any = CudaBackend(recorder)
    results = _work(backend, name, size, dtype, whole)
    if not recorder.of(name):
        raise Unfit(f"{name}: with size {' '.join(map(str, size))} it has nothing to do")
    return recorder, [backend.to_numpy(result) for result in results]


def exact(
    name: str, size: tuple[int, ...], dtype: Any = np.float32, whole: bool = False
) -> list[Any]:
    """The same results, of the same numbers, by the plain bodies of the primitives in float64."""
    drawn = np.float16 if dtype == HALF else np.float32
    return _work(Backend(), name, size, np.float64, whole, drawn)


def _work(
    backend: Any, name: str, size: tuple[int, ...], dtype: Any, whole: bool, drawn: Any = np.float32
) -> list[Any]:
    case, inputs = CASES[name], Inputs(backend, dtype, whole, drawn)
    axes = map(str.lower, sizes(case, window=True))
    try:
        results = case(backend, inputs, **dict(zip(axes, size, strict=False)))
    except ValueError as error:
        asked = f"{name}: with size {' '.join(map(str, size))}"
        raise Unfit(f"{asked}: {error}") from error
    return list(results) if isinstance(results, tuple) else [results]


def verdicts(
    results: list[Any], wanted: list[Any], rounding: float = 0.0
) -> Iterator[tuple[bool, str]]:
    """Of each result whether it is right, and a line about it.

    A sum may be off by some units in the last place of the largest value (eps), or by some of what
    its operands, or it itself in float16, were rounded by; integers must be equal.
    """
    for got, right in zip(results, wanted, strict=True):
        error = float(np.abs(got.astype(np.float64) - right).max())
        allowed, units = 0.0, ""
        if got.dtype.kind == "f":
            most, relative = ALLOWED, np.finfo(got.dtype).eps
            if rounding or got.dtype == HALF:
                most, relative = ROUNDINGS, rounding or relative
            unit = float(relative) * max(float(np.abs(right).max()), 1e-30)
            word = "roundings" if rounding else "eps"
            allowed, units = most * unit, f", {error / unit:.1f} {word} of the largest value"
        close = error <= allowed  # which NaN is not
        yield close, f"{'right' if close else 'WRONG'}, largest error {error:.2g}{units}"
