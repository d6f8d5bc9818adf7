"""How near products come to the peak of two GPUs at best, by what the profile says of accesses.

Two roofs besides the arithmetic itself. A multiprocessor moves 128 bytes a cycle, to and from its
shared memory and cache: one turn, or four sectors; nothing lifts that one. And memory brings so
many bytes a second: that roof is for sectors of which none comes from the L2 cache, which lifts it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tinyfcn.backend.cuda.emulator import Cost, Emulator
from tinyfcn.backend.half import products
from tinyfcn.kernel_lab.work import work

SIZE = 128, 128, 64  # M, N, K
SECTOR, TURN = 32, 128  # bytes
KINDS = "float32", "tf32", "bf16", "fp16"


class Machine(NamedTuple):
    """What NVIDIA says of a GPU, for each of ``KINDS``."""

    name: str
    products: tuple[int, ...]  # of a multiprocessor in a cycle
    tflops: tuple[float, ...]  # without sparsity
    gbytes: float  # of memory in a second

    def ridge(self, kind: str) -> float:
        """Operations for each byte for which arithmetic takes as long as memory."""
        return 1000 * self.tflops[KINDS.index(kind)] / self.gbytes


HEADINGS = (
    "| kernel | products a turn | operations a byte | A100: turns | A100: memory | H200: turns | "
    "H200: memory |",
    "|---|---|---|---|---|---|---|",
)
MACHINES = (
    Machine("A100", (64, 512, 1024, 1024), (19.5, 156, 312, 312), 1555),
    Machine("H200", (128, 1024, 2048, 2048), (67, 494, 989, 989), 4800),
)


def per_turn_and_byte(costs: list[Cost]) -> tuple[float, float]:
    """Products for each turn of a multiprocessor, and operations for each byte from memory.

    An asynchronous copy moves its bytes once, to shared memory: what it reads is no turn more.
    """
    copied = {(c.file, c.line) for c in costs if c.memory == "shared" and c.access == "writes"}
    read = [c for c in costs if c.memory == "global" and c.access == "reads"]
    turns: float = sum(c.cost for c in costs if c.memory == "shared")
    turns += sum(c.cost for c in read if (c.file, c.line) not in copied) * SECTOR / TURN
    m, n, k = SIZE
    return m * n * k / turns, 2 * m * n * k / (SECTOR * sum(c.cost for c in read))


def ridges() -> Iterator[str]:
    """A row of Markdown for each GPU."""
    yield f"\n| ridge, operations a byte | {' | '.join(KINDS)} |\n|---{'|---' * len(KINDS)}|"
    for machine in MACHINES:
        cells = (f"{machine.ridge(kind):.1f}" for kind in KINDS)
        yield f"| {machine.name} | {' | '.join(cells)} |"


def table() -> Iterator[str]:
    """A row of Markdown for every version of the matrix product; with fp16, of float16 arrays."""
    first, *others = KINDS
    for version, kind in [*((n, first) for n in "123456"), *(("7", kind) for kind in others)]:
        engine = Emulator("check", profile=True)
        with products.using(kind):
            dtype = "float16" if kind == "fp16" else first
            recorder, _ = work(engine, f"gemm_{version}", SIZE, dtype)
        (launch,) = recorder.launches
        costs = [cost for cost in engine.profile() if cost.kernel == launch.function]
        turn, byte = per_turn_and_byte(costs)
        cells = [f"`{launch.function.replace('<float>', '')}`", f"{turn:.0f}", f"{byte:.1f}"]
        for machine in MACHINES:
            inside = min(turn / machine.products[KINDS.index(kind)], 1)
            memory = min(byte / machine.ridge(kind), 1)
            cells += [f"{inside:.0%}", f"{memory:.0%}"]
        yield f"| {' | '.join(cells)} |"
