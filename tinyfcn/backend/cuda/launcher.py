"""Launches kernels: looks one up, checks and packs its arguments, and hands them to an engine.

``Launcher`` turns the arguments into exactly what the .cu file declares (see kernels.py); an engine
only loads files and calls functions. So a launch is checked in one place, the same on every engine:
CuPy would pass a Python int as eight bytes whatever the kernel wants, and ignores strides. Kernels
count on C-contiguous arrays; one that lies in memory otherwise is copied for the launch, and what
the kernel writes into the copy goes back.
"""

from __future__ import annotations

import math
import operator
from typing import Any, Protocol

import numpy as np

from tinyfcn.backend.cuda.kernels import Kernel, Parameter

THREADS = 256  # of a block, where a kernel has no shape of its own
LARGEST_GRID = 1 << 16  # blocks of a kernel that loops over its elements

# What a parameter may be, or an array of it; T besides, the type of the instance.
TYPES = {
    "int": np.int32, "i64": np.int64, "u32": np.uint32, "u64": np.uint64,
    "float": np.float32, "double": np.float64,
}  # fmt: skip


class Engine(Protocol):
    """What runs kernels: a GPU through CuPy, or the emulator."""

    name: str
    xp: Any  # the array module
    kernels: dict[str, Kernel]  # by name
    eager: bool  # whether the host may look at values without waiting for the device

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """A new C-contiguous array; what it holds is undefined."""

    def upload(self, data: Any) -> Any:
        """The array of this engine with the values of a NumPy array, ready when this returns."""

    def synchronize(self) -> None:
        """Wait until all kernels are done."""

    def run(
        self, file: str, function: str, grid: tuple[int, ...], block: tuple[int, ...],
        arguments: tuple[Any, ...], shared_mem: int,
    ) -> None:  # fmt: skip
        """Run ``function``, "relu<float>" say, on arrays of this engine and NumPy scalars."""


class Launcher:
    """Launches declared kernels on one engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        # A NumPy scalar is an array too: operations on the host make them of 0-D arrays.
        self._arrays = engine.xp.ndarray, np.generic

    def __call__(
        self, name: str, grid: Any, block: Any, *arguments: Any, shared_mem: int = 0
    ) -> None:
        """Run kernel ``name``; nothing happens where the grid is empty.

        Args:
            name: of a kernel. T is the dtype of the first array of its parameters of type T*.
            grid, block: numbers of blocks and of threads of a block, up to three each.
            arguments: arrays of the declared dtype, None for a null pointer, and numbers, which
                must fit the declared type.
            shared_mem: bytes of dynamic shared memory.

        Raises:
            TypeError, ValueError: naming kernel, parameter, what was expected and what came.
        """
        kernel = self.engine.kernels.get(name)
        if kernel is None:
            known = ", ".join(self.engine.kernels)
            raise ValueError(f"no .cu file has a kernel {name}; there are {known}")
        grid, block = _three(grid), _three(block)
        if len(arguments) != len(kernel.parameters):
            raise TypeError(
                f"{name}: expected {len(kernel.parameters)} arguments, {kernel}, "
                f"got {len(arguments)}"
            )
        pairs = list(zip(kernel.parameters, arguments, strict=True))
        dtypes = (a.dtype for p, a in pairs if p.type == "T*" and isinstance(a, self._arrays))
        dtype = next(dtypes, np.dtype(np.float32))
        if dtype not in (np.float32, np.float64):
            raise TypeError(f"{name}: kernels work in float32 and float64, got {dtype}")
        types = {"T": dtype, **TYPES}
        packed = tuple(self._pack(name, *pair, types) for pair in pairs)
        if math.prod(grid) == 0:
            return
        if math.prod(block) > 1024 or grid[0] >= 2**31 or max(grid[1:]) >= 2**16:
            raise ValueError(f"{name}: no GPU has a grid of {grid} blocks of {block} threads")
        double = kernel.templated and dtype == np.float64
        self.engine.run(kernel.file, kernel.instances[double], grid, block, packed, shared_mem)
        for (parameter, given), used in zip(pairs, packed, strict=True):
            if parameter.type.endswith("*") and not parameter.const and used is not given:
                given[...] = used

    def each(self, name: str, count: int, *arguments: Any) -> None:
        """Run a kernel with FOR_EACH, whose last parameter is ``count``, on so many elements."""
        blocks = min(-(-count // THREADS), LARGEST_GRID)
        self(name, blocks, THREADS, *arguments, count)

    def _pack(self, name: str, parameter: Parameter, value: Any, types: dict[str, Any]) -> Any:
        where = f"{name}: {parameter}"
        element = parameter.type.rstrip("*")
        if element not in types:
            raise TypeError(f"{where}: a launch knows the types {', '.join(types)}")
        expected = np.dtype(types[element])
        if parameter.type.endswith("*"):
            if value is None:
                return None
            if not isinstance(value, self._arrays):
                raise TypeError(f"{where}: expected an array, got {type(value).__name__}")
            if value.dtype != expected:
                raise TypeError(f"{where}: expected {expected}, got {value.dtype}")
            return self._contiguous(value)
        if not isinstance(value, int | float | np.generic):
            raise TypeError(f"{where}: expected a number, got {type(value).__name__}")
        convert: Any = float if expected.kind == "f" else operator.index
        try:
            return expected.type(convert(value))
        except (TypeError, OverflowError) as error:  # a fraction, too large or too small
            raise TypeError(f"{where}: expected {expected}, got {value!r}") from error

    def _contiguous(self, value: Any) -> Any:
        if isinstance(value, np.generic) or not value.flags.c_contiguous:
            return self.engine.xp.asarray(value, order="C")
        return value


def _three(sizes: Any) -> tuple[int, int, int]:
    sizes = (sizes,) if isinstance(sizes, int | np.integer) else tuple(sizes)
    return tuple(int(s) for s in sizes) + (1,) * (3 - len(sizes))  # type: ignore[return-value]
