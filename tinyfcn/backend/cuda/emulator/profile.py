"""What accesses to memory would cost on a GPU, line by line; counted in profile.h."""

from __future__ import annotations

from typing import NamedTuple


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
    def factor(self) -> float:
        """How many times dearer than need be; 1 is best."""
        return self.cost / max(self.least, 1)
