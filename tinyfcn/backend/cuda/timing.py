"""How long a GPU takes, by its own clock, and what it could do at best."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

# Products in float32 of a multiprocessor in a cycle, by compute capability; of others 128.
LANES = {"70": 64, "72": 64, "75": 64, "80": 64}
BUSY = 1 << 28  # bytes that are set to 0, and how often, to begin with
HEAD_START = 32
SECONDS, LEAST, MOST = 0.1, 5, 50  # how long, and how often, work is repeated


class Gpu(NamedTuple):
    """What a GPU is called, and the best that its clocks allow."""

    name: str
    capability: str  # "90"
    multiprocessors: int
    gflops: float  # in float32, without tensor cores, at the highest clock
    gbytes: float  # a second from memory; 0 if the driver does not tell

    def __str__(self) -> str:
        memory = f", {self.gbytes:,.0f} GB/s" if self.gbytes else ""
        return (
            f"{self.name}, compute capability {self.capability[:-1]}.{self.capability[-1]}, "
            f"{self.multiprocessors} multiprocessors; at its highest clocks {self.gflops:,.0f} "
            f"GFLOP/s in float32 without tensor cores{memory}"
        )


def describe(cupy: Any, device: Any) -> Gpu:
    """The GPU of a CuPy device."""
    has, capability = device.attributes, device.compute_capability
    lanes = has["MultiProcessorCount"] * LANES.get(capability, 128)
    return Gpu(
        cupy.cuda.runtime.getDeviceProperties(device.id)["name"].decode(), capability,
        has["MultiProcessorCount"], 2 * lanes * has["ClockRate"] / 1e6,
        2 * has["MemoryClockRate"] * has["GlobalMemoryBusWidth"] / 8 / 1e6,
    )  # fmt: skip


def by_events(cupy: Any, work: Callable[[], object], repeats: int) -> list[float]:
    """Seconds of each repetition, between two events on the current stream.

    The device has something else to do first, so that it need not wait for the host in between,
    which takes longer to launch a small kernel than the device to run it.
    """
    busy, stream = cupy.empty(BUSY, "u1"), cupy.cuda.get_current_stream()
    for _ in range(HEAD_START):
        busy.data.memset_async(0, BUSY, stream)
    events = [cupy.cuda.Event() for _ in range(repeats + 1)]
    events[0].record(stream)
    for event in events[1:]:
        work()
        event.record(stream)
    events[-1].synchronize()
    between = itertools.pairwise(events)
    return [cupy.cuda.get_elapsed_time(*pair) / 1000 for pair in between]


def median_seconds(engine: Any, work: Callable[[], object]) -> float:
    """The usual seconds of work on an engine that tells them (``timed``), once it is warm."""
    engine.timed(work, 1)  # compiled, and what was left in caches is gone
    (once,) = engine.timed(work, 1)
    repeats = int(min(max(SECONDS / max(once, 1e-9), LEAST), MOST))
    return statistics.median(engine.timed(work, repeats))
