"""What accesses to memory would cost on a GPU, line by line; counted in profile.h."""

from __future__ import annotations

from typing import NamedTuple

from tinyfcn.backend.cuda.emulator.errors import ACCESSES
from tinyfcn.backend.cuda.emulator.library import Library


class Cost(NamedTuple):
    """Of the accesses of one kind at one line.

    Attributes:
        requests: by warps.
        accesses: by threads.
        cost: global memory: sectors of 32 bytes moved; shared memory: turns that requests take.
        least: the same if neighbours accessed neighbours, without bank conflicts.
    """

    kernel: str
    file: str
    line: int
    memory: str  # "global" or "shared"
    access: str  # "reads", "writes" or "updates"
    requests: int
    accesses: int
    cost: int
    least: int

    @property
    def key(self) -> tuple[str, str, int, str, str]:
        """What is added up in one row."""
        return self[:5]

    @property
    def factor(self) -> float:
        """How many times dearer than need be; 1 is best."""
        return self.cost / max(self.least, 1)

    def __add__(self, other: Cost) -> Cost:  # type: ignore[override]
        return Cost(*self.key, *(a + b for a, b in zip(self[5:], other[5:], strict=True)))

    def __str__(self) -> str:
        unit = "sectors" if self.memory == "global" else "turns"
        return (
            f"{self.kernel:24} {self.file}:{self.line:<5} {self.access:7} {self.memory:6} "
            f"{self.requests:9} requests {self.cost / self.requests:6.2f} {unit} each "
            f"({self.factor:.2f} times the least)"
        )


def costs(kernel: str, library: Library) -> list[Cost]:
    """The costs of the last launch."""
    return [
        Cost(kernel, file, line, "shared" if row.shared else "global", ACCESSES[row.kind],
             row.requests, row.accesses, row.cost, row.least)
        for file, line, row in library.take_profile()
    ]  # fmt: skip
