"""How far data-parallel training scales: a measured step, over links that are assumed.

Measured, here, on one rank: how long a training step takes, and when in its backward pass each
bucket of gradients is complete. Assumed: that all ranks are alike, each with a batch of its own
(weak scaling); that an exchange takes nothing from their cores; and how fast the links are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tinyfcn.benchmark import with_tinyfcn
from tinyfcn.benchmark.work import Work
from tinyfcn.function import Function, Hook
from tinyfcn.nn import Parameter
from tinyfcn.parallel.exchange import BUCKET_BYTES

RANKS = [2**i for i in range(11)]


class Link(NamedTuple):
    """What joins a rank to the next: seconds until a message is there, bytes a second each way."""

    name: str
    latency: float
    bandwidth: float

    def all_reduce(self, size: float, ranks: int) -> float:
        """Seconds in which a ring sums ``size`` bytes: 2 (N − 1) messages of 1/N of them.

        Source: Patarasuk, Yuan, "Bandwidth optimal all-reduce algorithms for clusters of
        workstations" (2009).
        """
        return 2 * (ranks - 1) * (self.latency + size / ranks / self.bandwidth)


# Line rates, which no protocol quite reaches. Latencies are round figures: twice of TCP (Ethernet),
# of InfiniBand, and of NVLink as NCCL reckons (tuning.h, ring, Simple). NVLink's rate is that of an
# A100; it joins the GPUs of one machine, or of one rack.
LINKS = [
    Link("1 Gbit/s", 50e-6, 0.125e9),
    Link("10 Gbit/s", 20e-6, 1.25e9),
    Link("100 Gbit/s", 2e-6, 12.5e9),
    Link("NVLink", 3.4e-6, 300e9),
]


class Step(NamedTuple):
    """A training step of one rank.

    Attributes:
        seconds: how long it takes.
        buckets: of gradients; for each the seconds after which it is complete, and its bytes.
    """

    seconds: float
    buckets: Sequence[tuple[float, float]]

    def assuming(self, faster: float, half: bool) -> Step:
        """The same on ranks so many times as fast, or with gradients sent in half their bytes."""
        buckets = [(complete / faster, size / (1 + half)) for complete, size in self.buckets]
        return Step(self.seconds / faster, buckets)

    def __str__(self) -> str:
        made = ", ".join(f"{1000 * then:.0f} ({size / 1e6:.1f})" for then, size in self.buckets)
        size = sum(size for _, size in self.buckets) / 1e6
        return f"{1000 * self.seconds:.1f} ms, {size:.1f} MB of gradients after ms (MB): {made}"

    def on(self, link: Link, ranks: int, overlap: bool = True) -> float:
        """Seconds of a step of so many ranks.

        Buckets go one after another, each when it is complete, or, without ``overlap``, all when
        backward has ended; what follows, the step of the optimizer, waits for the last.

        Example:
            >>> step = Step(1.0, [(0.5, 4e6), (0.75, 4e6)])  # each takes half a second:
            >>> link = Link("8 MB/s", 0.0, 8e6)
            >>> step.on(link, 2), step.on(link, 2, overlap=False)
            (1.75, 2.0)
        """
        gone, end = 0.0, self.buckets[-1][0]
        for complete, size in self.buckets:
            gone = max(gone, complete if overlap else end) + link.all_reduce(size, ranks)
        return self.seconds + (gone - end)

    def efficiency(self, link: Link, ranks: int, overlap: bool = True) -> float:
        """The throughput of so many ranks, as a share of that many times the throughput of one."""
        return self.seconds / self.on(link, ranks, overlap)

    def limit(self, link: Link, overlap: bool = True) -> int | None:
        """The number of ranks at which the efficiency falls under 80 %; None: at none simulated."""
        ranks = range(1, RANKS[-1] + 1)
        return next((n for n in ranks if self.efficiency(link, n, overlap) < 0.8), None)


class _Buckets(Hook):
    """The buckets of a step that begins now; one is full when it holds more than BUCKET_BYTES."""

    def __init__(self) -> None:
        self.start, self.found = time.perf_counter(), [(0.0, 0.0)]

    def backward(self, function: Function, run: Callable[..., Any], *gradients: Any) -> Any:
        result = run(*gradients)
        for p in function.edges:
            if isinstance(p, Parameter):  # which no other op needs here: its gradient is complete
                with_tinyfcn.synchronize()
                size = self.found.pop()[1] if self.found[-1][1] <= BUCKET_BYTES else 0.0
                self.found.append((time.perf_counter() - self.start, size + p.data.nbytes))
        return result


def measure(work: Work, seconds: float, least: int) -> Step:
    """The step of median length of those made in so many seconds, at least so many."""
    step = work.kind(with_tinyfcn, **work.arguments)
    step()  # to warm up
    steps: list[Step] = []
    while len(steps) < least or sum(done.seconds for done in steps) < seconds:
        with _Buckets() as buckets:
            step()
        with_tinyfcn.synchronize()
        steps.append(Step(time.perf_counter() - buckets.start, buckets.found))
    return sorted(steps, key=lambda done: done.seconds)[len(steps) // 2]


def table(step: Step) -> str:
    """What is assumed of each link, and what follows for each number of ranks: milliseconds a step
    with overlap, the efficiency with overlap, and with the exchange at the end."""
    rows: dict[Any, list[str]] = {
        "": [link.name for link in LINKS],
        "assumed": [f"{1e6 * k.latency:g} us {k.bandwidth / 1e9:g} GB/s" for k in LINKS],
        "ranks": ["ms over  end"] * len(LINKS),
    }
    for n in RANKS:
        shares = [(step.efficiency(link, n), step.efficiency(link, n, False)) for link in LINKS]
        rows[n] = [f"{1000 * step.seconds / a:.5g}{a:5.0%}{b:5.0%}" for a, b in shares]
    limits = [(step.limit(link) or "-", step.limit(link, False) or "-") for link in LINKS]
    rows["under 80 %"] = [f"{a:>5}{b:>5}" for a, b in limits]
    return "\n".join(f"{k:>10}" + "".join(f"{c:>17}" for c in row) for k, row in rows.items())
