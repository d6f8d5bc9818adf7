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
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from tinyfcn.backend.cuda.kernels import Kernel, Parameter
from tinyfcn.backend.half import HALF, wide

THREADS = 256  # of a block, where a kernel has no shape of its own
LARGEST_GRID = 1 << 12  # blocks of a kernel that loops over its elements

# What a parameter may be, or an array of it; T, wide<T> and stored<T> besides, by the instance.
TYPES = {
    "int": np.int32, "i64": np.int64, "u32": np.uint32, "u64": np.uint64,
    "float": np.float32, "double": np.float64,
}  # fmt: skip
# What T may be.
DTYPES = {"half": np.dtype("f2"), "float": np.dtype("f4"), "double": np.dtype("f8")}


MOST_KNOWN = 256  # of a kernel
_FLOAT = np.dtype(np.float32)
_NUMBERS = int, float, np.generic
Pack = Callable[[Any], Any]


class _Plan(NamedTuple):
    """How a kernel is launched.

    Attributes:
        packing: for each T the function, what makes of each argument what the kernel takes, and
            what it made of numbers: those of a training step come again at every step.
        typed: which parameters are arrays of T.
        arrays, numbers: which are arrays, which are not.
        written: which arrays the kernel may write into.
    """

    kernel: Kernel
    packing: dict[Any, tuple[str, list[Pack], dict[Any, list[Any]]]]
    typed: list[int]
    arrays: list[int]
    numbers: list[int]
    written: list[int]


class Engine(Protocol):
    """What runs kernels: a GPU through CuPy, or the emulator."""

    name: str
    xp: Any  # the array module
    kernels: dict[str, Kernel]  # by name
    eager: bool  # whether the host may look at values without waiting for the device

    @property
    def processors(self) -> int:
        """Multiprocessors of the device."""

    @property
    def capability(self) -> int:
        """Compute capability of the device: 80 for 8.0."""

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """A new C-contiguous array; what it holds is undefined."""

    def upload(self, data: Any) -> Callable[[], Any]:
        """Begin to copy a NumPy array, in any thread; what is given gives the array here."""

    def synchronize(self) -> None:
        """Wait until all kernels are done."""

    def run(
        self, file: str, function: str, grid: tuple[int, ...], block: tuple[int, ...],
        arguments: tuple[Any, ...], shared_mem: int,
    ) -> None:  # fmt: skip
        """Run ``function``, "relu<float>" say, on arrays of this engine, lists of arrays, for which
        it gets a table of pointers, None and NumPy scalars."""


class Launcher:
    """Launches declared kernels on one engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        # A NumPy scalar is an array too: operations on the host make them of 0-D arrays.
        self._arrays = engine.xp.ndarray, np.generic
        self._plans: dict[str, _Plan] = {}

    def __call__(
        self, name: str, grid: Any, block: Any, *arguments: Any, shared_mem: int = 0
    ) -> None:
        """Run kernel ``name``; nothing happens where the grid is empty.

        Args:
            name: of a kernel, T is the dtype of the first array of type T*; or of an instance,
                "gemm_7<Tf32>".
            grid, block: numbers of blocks and of threads of a block, up to three each.
            arguments: arrays of the declared dtype, sequences of them for a table of pointers,
                None for a null pointer, and numbers, which must fit the declared type.
            shared_mem: bytes of dynamic shared memory.

        Raises:
            TypeError, ValueError: naming kernel, parameter, what was expected and what came.
        """
        plan = self._plans.get(name) or self._plan(name)
        if len(arguments) != len(plan.kernel.parameters):
            raise TypeError(
                f"{name}: expected {len(plan.kernel.parameters)} arguments, {plan.kernel}, "
                f"got {len(arguments)}"
            )
        dtype = _FLOAT
        for i in plan.typed:
            if found := self._dtype(arguments[i]):
                dtype = found
                break
        if dtype not in plan.packing:
            taken = " or ".join(map(str, plan.packing))
            raise TypeError(f"{name}: expected arrays of {taken}, got {dtype}")
        function, packing, known = plan.packing[dtype]
        packed = [*arguments]
        for i in plan.arrays:
            packed[i] = packing[i](arguments[i])
        numbers = tuple([arguments[i] for i in plan.numbers])
        try:
            made = known.get(numbers)
        except TypeError:  # what has no hash is no number
            made = None
        if made is None:
            made = [packing[i](arguments[i]) for i in plan.numbers]
            if len(known) >= MOST_KNOWN:
                known.clear()
            known[numbers] = made
        for i, number in zip(plan.numbers, made, strict=True):
            packed[i] = number
        grid, block = _three(grid), _three(block)
        if 0 in grid:
            return
        if math.prod(block) > 1024 or grid[0] >= 2**31 or max(grid[1:]) >= 2**16:
            raise ValueError(f"{name}: no GPU has a grid of {grid} blocks of {block} threads")
        self.engine.run(plan.kernel.file, function, grid, block, tuple(packed), shared_mem)
        for i in plan.written:
            if packed[i] is not arguments[i]:
                _give_back(packed[i], arguments[i])

    def each(self, name: str, count: int, *arguments: Any) -> None:
        """Run a kernel with FOR_EACH, whose last parameter is ``count``, on so many elements."""
        blocks = min(-(-count // THREADS), LARGEST_GRID)
        self(name, blocks, THREADS, *arguments, count)

    def _plan(self, name: str) -> _Plan:
        """How a kernel is launched, made at its first launch."""
        kernel = self.engine.kernels.get(name.partition("<")[0])
        if kernel is None:
            known = ", ".join(self.engine.kernels)
            raise ValueError(f"no .cu file has a kernel {name}; there are {known}")
        parameters = [*enumerate(kernel.parameters)]
        packing: dict[Any, Any] = {}
        functions = {DTYPES[T]: f"{kernel.name}<{T}>" for T in kernel.types if T in DTYPES}
        if not functions:
            functions = {_FLOAT: name if "<" in name else kernel.instances[0]}
        for T, function in functions.items():
            stored = HALF if function.endswith("<Fp16>") else _FLOAT
            types = {"T": T, "wide<T>": wide(T), "stored<T>": stored, **TYPES}
            packers = [self._packer(f"{name}: {p}", p, types) for _, p in parameters]
            packing[T] = function, packers, {}
        typed = [i for i, p in parameters if p.type in ("T*", "T**")]
        arrays = [i for i, p in parameters if p.type.endswith("*")]
        numbers = [i for i, p in parameters if not p.type.endswith("*")]
        written = [i for i in arrays if not kernel.parameters[i].const]
        self._plans[name] = _Plan(kernel, packing, typed, arrays, numbers, written)
        return self._plans[name]

    def _packer(self, where: str, parameter: Parameter, types: dict[str, Any]) -> Pack:
        element = parameter.type.rstrip("*")
        if element not in types:
            raise TypeError(f"{where}: a launch knows the types {', '.join(types)}")
        expected, arrays = np.dtype(types[element]), self._arrays
        make = expected.type
        convert: Any = float if expected.kind == "f" else operator.index

        def array(value: Any) -> Any:
            if value is None:
                return None
            if not isinstance(value, arrays):
                raise TypeError(f"{where}: expected an array, got {type(value).__name__}")
            if value.dtype != expected:
                raise TypeError(f"{where}: expected {expected}, got {value.dtype}")
            return self._contiguous(value)

        def number(value: Any) -> Any:
            if not isinstance(value, _NUMBERS):
                raise TypeError(f"{where}: expected a number, got {type(value).__name__}")
            try:
                return make(convert(value))
            except (TypeError, OverflowError) as error:  # a fraction, too large or too small
                raise TypeError(f"{where}: expected {expected}, got {value!r}") from error

        def table(values: Any) -> Any:
            return None if values is None else [array(value) for value in values]

        if parameter.type.endswith("**"):
            return table
        return array if parameter.type.endswith("*") else number

    def _dtype(self, value: Any) -> Any:
        """Of an array, or of the first of a sequence of them."""
        value = value[0] if isinstance(value, list | tuple) and value else value
        return value.dtype if isinstance(value, self._arrays) else None

    def _contiguous(self, value: Any) -> Any:
        if isinstance(value, np.generic) or not value.flags.c_contiguous:
            return self.engine.xp.asarray(value, order="C")
        return value


def _give_back(used: Any, given: Any) -> None:
    """What a kernel wrote into copies."""
    if isinstance(used, list):
        for pair in zip(used, given, strict=True):
            _give_back(*pair)
    elif used is not given:
        given[...] = used


def _three(sizes: Any) -> tuple[int, int, int]:
    if type(sizes) is int:
        return sizes, 1, 1
    sizes = (sizes,) if isinstance(sizes, np.integer) else tuple(sizes)
    return tuple(int(s) for s in sizes) + (1,) * (3 - len(sizes))  # type: ignore[return-value]
