"""From a primitive to a kernel: what is declared, how arguments are packed, what is refused.

Every kernel of ``kernels/*.cu`` is declared once, with the file it stands in and its parameters,
beside the primitives that launch it; a test holds each declaration against the C++ type.
``Launcher`` looks a kernel up, turns the arguments into exactly what the declaration says, and
hands them to an engine, which only loads files and calls functions. So a launch is checked in one
place, the same on every engine: CuPy would pass a Python int as eight bytes whatever the kernel
wants, and ignores strides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

THREADS = 256  # of a block, where a kernel has no shape of its own
LARGEST_GRID = 1 << 16  # blocks of a kernel that loops over its elements

# Names of parameter types. T is the element type of the instance, float or double.
SCALARS = {
    "int": np.int32, "i64": np.int64, "u32": np.uint32, "u64": np.uint64,
    "float": np.float32, "double": np.float64,
}  # fmt: skip
POINTERS = {**SCALARS, "u8": np.uint8, "bool": np.bool_}


class Kernel(NamedTuple):
    """A ``__global__`` function template over T, or a plain one if no parameter has type T."""

    file: str  # in kernels/
    parameters: str  # as in the declaration: "const T* x, T* y, i64 count"

    @property
    def types(self) -> list[str]:
        """The types alone: ["const T*", "T*", "i64"]."""
        parts = [p.strip() for p in self.parameters.split(",")]
        return [p[: p.rindex(" ")].strip() for p in parts]

    @property
    def templated(self) -> bool:
        """Whether there are two of it, for float and for double."""
        return any(kind.replace("const ", "").rstrip("*") == "T" for kind in self.types)


def instances(kernels: Mapping[str, Kernel], file: str) -> list[str]:
    """The names of the kernels in a file, ["relu<float>", "relu<double>", …]."""
    return [
        f"{name}{suffix}"
        for name, kernel in kernels.items() if kernel.file == file
        for suffix in (("<float>", "<double>") if kernel.templated else ("",))
    ]  # fmt: skip


class Engine(Protocol):
    """What runs kernels: a GPU through CuPy, or the emulator."""

    name: str
    xp: Any  # the array module
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

    def __call__(
        self, name: str, dtype: Any, grid: Any, block: Any, *arguments: Any, shared_mem: int = 0
    ) -> None:
        """Run kernel ``name`` for elements of ``dtype``; nothing happens where the grid is empty.

        Args:
            name: a declared kernel, see ``kernels.py``.
            dtype: float32 or float64, what T stands for.
            grid, block: numbers of blocks and of threads of a block, up to three each.
            arguments: arrays, which must be C-contiguous and of the declared dtype, None for a null
                pointer, and numbers, which must fit the declared type.
            shared_mem: bytes of dynamic shared memory.

        Raises:
            TypeError, ValueError: naming kernel, parameter, what was expected and what came.
        """
        from tinyfcn.backend.cuda.kernels import KERNELS

        kernel = KERNELS[name]
        dtype = np.dtype(dtype)
        if dtype not in (np.float32, np.float64):
            raise TypeError(f"{name}: kernels work in float32 and float64, got {dtype}")
        grid, block = _three(grid), _three(block)
        if len(arguments) != len(kernel.types):
            raise TypeError(
                f"{name}: expected {len(kernel.types)} arguments ({kernel.parameters}), "
                f"got {len(arguments)}"
            )
        packed = tuple(
            self._pack(f"{name}: {parameter.strip()}", kind, value, dtype)
            for parameter, kind, value in zip(
                kernel.parameters.split(","), kernel.types, arguments, strict=True
            )
        )
        if math.prod(grid) == 0:
            return
        if math.prod(block) > 1024 or grid[0] >= 2**31 or max(grid[1:]) >= 2**16:
            raise ValueError(f"{name}: no GPU has a grid of {grid} blocks of {block} threads")
        function = f"{name}<{ctype(dtype)}>" if kernel.templated else name
        self.engine.run(kernel.file, function, grid, block, packed, shared_mem)

    def each(self, name: str, dtype: Any, count: int, *arguments: Any) -> None:
        """Run a kernel that goes over ``count`` elements with FOR_EACH."""
        blocks = min(-(-count // THREADS), LARGEST_GRID)
        self(name, dtype, blocks, THREADS, *arguments)

    def _pack(self, where: str, kind: str, value: Any, dtype: Any) -> Any:
        plain = kind.replace("const ", "")
        if plain.endswith("*"):
            expected = dtype if plain == "T*" else np.dtype(POINTERS[plain[:-1]])
            if value is None:
                return None
            if not isinstance(value, self.engine.xp.ndarray):
                raise TypeError(f"{where}: expected an array, got {type(value).__name__}")
            if value.dtype != expected:
                raise TypeError(f"{where}: expected {expected}, got {value.dtype}")
            if not value.flags.c_contiguous:
                raise ValueError(f"{where}: expected a C-contiguous array, got strides "
                                 f"{value.strides} for shape {value.shape}")  # fmt: skip
            return value
        expected = dtype if plain == "T" else np.dtype(SCALARS[plain])
        if isinstance(value, bool) or not isinstance(value, int | float | np.generic):
            raise TypeError(f"{where}: expected a number, got {type(value).__name__}")
        if expected.kind in "iu":
            if int(value) != value:
                raise TypeError(f"{where}: expected a whole number, got {value!r}")
            limits = np.iinfo(expected)
            if not limits.min <= int(value) <= limits.max:
                raise ValueError(f"{where}: {value} does not fit {expected}")
            return expected.type(int(value))
        return expected.type(value)


def ctype(dtype: Any) -> str:
    """The C name of a floating dtype: "float" or "double"."""
    return "float" if np.dtype(dtype) == np.float32 else "double"


def _three(sizes: Any) -> tuple[int, int, int]:
    sizes = (sizes,) if isinstance(sizes, int | np.integer) else tuple(sizes)
    return tuple(int(s) for s in sizes) + (1,) * (3 - len(sizes))  # type: ignore[return-value]
