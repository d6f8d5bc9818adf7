"""What a task is: its files, what is asked, and the answers of the engine."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
HERE = Path(__file__).parent
LONGEST = 75  # letters of an argument that are shown


class Wrong(Exception):
    """What is wrong with the reader's code, to be printed."""


class Limit(NamedTuple):
    """The most that the accesses of a kernel to a kind of memory may cost, and why it is enough.

    ``what`` counts "accesses" by threads, "requests" by warps, or "cost": sectors of global memory,
    turns of shared memory.
    """

    memory: str
    access: str
    what: str
    most: int
    why: str


class Case(NamedTuple):
    """What is asked once, and what is right.

    Attributes:
        arguments: arrays and numbers by name. A function gets them in this order; a kernel gets
            the arrays, then those it has to fill, then the numbers.
        expected: the results by name, in their order.
        grid, block: of the launch of a kernel.
        limits: of what its accesses may cost.
    """

    arguments: dict[str, Any]
    expected: dict[str, Array]
    grid: Any = 1
    block: Any = 1
    limits: tuple[Limit, ...] = ()

    def __str__(self) -> str:
        """``x (1, 1, 3, 3), kernel 2``."""
        shown = (
            f"{name} {value.__doc__ if callable(value) else getattr(value, 'shape', value)}"
            for name, value in self.arguments.items()
        )
        return ", ".join(text if len(text) < LONGEST else f"{text[:LONGEST]}..." for text in shown)


class Draw:
    """Numbers for a case: small whole ones for the example, which is printed, else normal ones."""

    def __init__(self, number: int, dtype: Any) -> None:
        self.random = np.random.default_rng(number)
        self.is_example = number == 0
        self.dtype = dtype

    def __call__(self, *shape: int, most: int = 9) -> Array:
        """An array of a shape; whole numbers are 0 to ``most``."""
        if self.is_example:
            return self.random.integers(0, most + 1, shape).astype(self.dtype)
        return self.random.standard_normal(shape).astype(self.dtype)


class Puzzle(NamedTuple):
    """One of thirty.

    Attributes:
        make: from a ``Draw`` and a size to a case; its docstring says what is to be written.
        sizes: arguments of ``make``; the first is the example in the text.
        names: of what the reader's file has to define.
        call: from that to the function that answers a case.
    """

    number: int
    ladder: str
    make: Callable[..., Case]
    sizes: tuple[tuple[Any, ...], ...]
    names: tuple[str, ...]
    call: Callable[..., Any]

    @property
    def title(self) -> str:
        """What is to be written, in a few words."""
        return inspect.cleandoc(self.make.__doc__ or "").rstrip(".")

    @property
    def is_kernel(self) -> bool:
        """Whether it is written in CUDA."""
        return self.stub.suffix == ".cu"

    @property
    def stub(self) -> Path:
        """What the reader gets: ``layers/01_im2col.py``."""
        name = f"{self.number:02}_{self.make.__name__.rstrip('_')}"
        return next(path for path in (HERE / self.ladder).glob(f"{name}.*") if path.stem == name)

    @property
    def solution(self) -> Path:
        """A right answer, behind two hints."""
        return self.stub.with_stem(f"{self.stub.stem}_solution")

    def hints(self) -> list[str]:
        """The two paragraphs at the head of the solution: where to look, and how it is done."""
        head = re.match("(?:(?:#|//).*\n)+", self.solution.read_text("utf-8"))
        text = re.sub("^(#|//) ?", "", head[0] if head else "", flags=re.MULTILINE)
        return [" ".join(part.split()) for part in text.split("\n\n")]

    @property
    def lesson(self) -> int:
        """The number of the lesson on it, which its text names; 0 if there is none."""
        found = re.search(
            r"^(?:// )?Lesson: tinyfcn lessons (\d+)$", self.stub.read_text("utf-8"), re.MULTILINE
        )
        return int(found[1]) if found else 0

    def case(self, number: int) -> Case:
        """The example, which is number 0, or one that no text shows."""
        dtype = np.float32 if self.is_kernel else np.float64
        return self.make(Draw(number, dtype), *self.sizes[number])


class Ladder(list[Puzzle]):
    """The puzzles of a folder, in order: a decorator of their ``make``."""

    def __init__(self, name: str, first: int) -> None:
        self.name, self.first = name, first

    def __call__(
        self, *sizes: tuple[Any, ...], names: tuple[str, ...] = (), call: Any = lambda f: f
    ) -> Callable[[Callable[..., Case]], Callable[..., Case]]:
        """Add a puzzle of some sizes; it is to define its own name, if no others are given."""

        def add(make: Callable[..., Case]) -> Callable[..., Case]:
            defined = names or (make.__name__.rstrip("_"),)
            self.append(Puzzle(self.first + len(self), self.name, make, sizes, defined, call))
            return make

        return add
