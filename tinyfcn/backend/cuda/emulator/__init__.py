"""The emulator: runs the unmodified ``kernels/*.cu`` on any machine with g++, on NumPy arrays.

Each .cu file becomes a shared library (build.py): a header gives g++ the words of CUDA (dialect.h)
and a small runtime runs the threads of a block as fibers (runtime.cpp). Three modes:

- "fast" for whole models. Barriers and warps are checked; with ``guard`` an access beyond an array
  is caught too.
- "check" watches every access to memory (watch.h): exact bounds, races, shared memory that nobody
  wrote, misaligned vectors; and counts with ``profile`` what accesses cost. For small shapes.
- "debug" is compiled for gdb: ``break activation.cu:17 if threadIdx.x == 3 && blockIdx.x == 0``.
"""

from __future__ import annotations

import os
import re
import threading
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tinyfcn.backend.cuda.emulator import build
from tinyfcn.backend.cuda.emulator.errors import BuildError, Fault, KernelError, Three
from tinyfcn.backend.cuda.emulator.library import Array, Cost, Launch, Library, Trace
from tinyfcn.backend.cuda.kernels import declared, instances
from tinyfcn.backend.cuda.kernels import folder as default_folder
from tinyfcn.backend.setting import SettingError

__all__ = ["BuildError", "Cost", "Emulator", "KernelError", "from_environment"]


# A library runs one launch at a time, and all emulators of a process share the libraries.
_one_at_a_time = threading.Lock()


class Emulator:
    """An engine (see ``Engine`` in launcher.py) that needs no GPU.

    Args:
        mode: "fast", "check" or "debug".
        seed: None runs threads and blocks in order; a number ≥ 0 in an order drawn from it.
        guard: run on copies of the arrays, with forbidden memory before and behind each. Not
            needed in mode "check".
        profile: in mode "check", collect what :meth:`profile` tells.
        folder: of the .cu files, ``kernels/`` by default.
        trace: with profile, the number of a block, whose accesses and waits are recorded in
            ``traces``.

    Attributes:
        only: the number of the one block that runs, None for all: the last of a grid of 2²³, say,
            whose elements an int cannot count.

    New arrays, and shared memory before each block, are full of NaN.
    """

    name = "emulator"
    xp: Any = np
    eager = True
    processors = 16  # few, so that there is no more to do than need be
    capability = 80

    def __init__(
        self, mode: str = "fast", seed: int | None = None, guard: bool = False,
        profile: bool = False, folder: Path | None = None, trace: int | None = None,
    ) -> None:  # fmt: skip
        if mode not in build.MODES:
            raise ValueError(f"emulator: expected mode {', '.join(build.MODES)}, got {mode!r}")
        if profile and mode != "check":
            raise ValueError(f"emulator: profile needs mode check, got {mode!r}")
        self.mode = mode
        self.seed = seed
        self.guard = guard and mode != "check"
        self._profile: dict[Any, Any] | None = None
        if profile:  # of each kernel, line, memory and access, the counts
            self._profile = defaultdict(lambda: np.zeros(4, np.int64))
        if trace is not None and not profile:
            raise ValueError("emulator: trace needs profile=True")
        self.trace = trace
        self.only: int | None = None
        self.traces: list[Trace] = []
        self.folder = folder or default_folder()
        self.kernels = declared(self.folder)
        self._libraries: dict[str, Library] = {}

    def library(self, file: str) -> Library:
        """The library of a .cu file; compiled if that was not done before."""
        if file not in self._libraries:
            made = build.library(self.folder / file, instances(self.kernels, file), self.mode)
            self._libraries[file] = Library(made)
        return self._libraries[file]

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
        """A new array; full of NaN, so that an element that no thread writes shows."""
        array = np.empty(shape, dtype)
        array.reshape(-1).view(np.uint8)[...] = 0xFF  # −1 in integers
        return array

    def upload(self, data: Any) -> Callable[[], Any]:
        """Gives the array itself."""
        return lambda: data

    def synchronize(self) -> None:
        """A kernel is done when ``run`` returns."""

    def run(
        self, file: str, function: str, grid: tuple[int, ...], block: tuple[int, ...],
        arguments: tuple[Any, ...], shared_mem: int = 0,
    ) -> None:  # fmt: skip
        """Run ``function``, "relu<float>" say, on NumPy arrays, lists of them, None and scalars.

        Raises:
            BuildError: if the file does not compile.
            KernelError: if the kernel does what it must not.
        """
        if shared_mem > build.DYNAMIC_SHARED:
            raise ValueError(
                f"{function}: expected at most {build.DYNAMIC_SHARED} bytes of dynamic shared "
                f"memory, got {shared_mem}"
            )
        library = self.library(file)
        named = [(p.name, a) for p, a in zip(self.kernels[function.split("<")[0]].parameters,
                                             arguments, strict=True)]  # fmt: skip
        arrays, slots = [], []
        for number, (name, value) in enumerate(named[:]):
            if isinstance(value, list):
                table = _table(value)
                for k, a in enumerate(value):
                    arrays.append(_array(a, len(named), table.ctypes.data + 8 * k))
                    named.append((f"{name}[{k}]", a))
                value = table
                named[number] = name, table
            if isinstance(value, np.ndarray):
                arrays.append(_array(value, number))
            slots.append(_slot(value))
        launch = Launch(
            [*library.signatures].index(function), Three(*grid), Three(*block), shared_mem,
            0 if self.seed is None else self.seed + 1,
            self.guard, self._profile is not None,
            *(0 if number is None else number + 1 for number in (self.only, self.trace)),
            len(arguments), len(arrays), b"".join(slots),
            (Array * len(arrays))(*arrays),
        )  # fmt: skip
        fault = Fault()
        with _one_at_a_time:
            library.code.launch(launch, fault)
            if self._profile is not None:
                for place, counts in library.take_profile():
                    self._profile[(function, *place)] += counts
            if self.trace is not None:
                self.traces.append(Trace(function, library, library.take_trace(), named))
        if fault.kind:
            names, given = zip(*named, strict=True)
            raise KernelError(function, file, fault, names, given, library.path)

    def profile(self) -> list[Cost]:
        """What accesses to memory cost, for each kernel and line, since the emulator was made."""
        if self._profile is None:
            raise ValueError('emulator: profile() needs Emulator(mode="check", profile=True)')
        return [Cost(*key, *map(int, counts)) for key, counts in sorted(self._profile.items())]


def from_environment(folder: Path | None = None) -> Emulator:
    """The emulator that $TINYFCN_EMULATOR describes, "fast", "check" or "fast,guard,seed=3", for
    the .cu files of a folder, ``kernels/`` by default.

    Raises:
        SettingError: if there is another word in it.
    """
    text = os.environ.get("TINYFCN_EMULATOR", "fast")
    options: dict[str, Any] = {}
    for word in filter(None, text.split(",")):
        if word in build.MODES:
            options["mode"] = word
        elif word == "guard":
            options["guard"] = True
        elif re.fullmatch("seed=[0-9]{1,18}", word):
            options["seed"] = int(word.removeprefix("seed="))
        else:
            raise SettingError(
                f"TINYFCN_EMULATOR: expected {', '.join(build.MODES)}, guard, or seed=<number>, "
                f"got {word[:40]!r} in {text[:80]!r}"
            )
    return Emulator(**options, folder=folder)


def _table(arrays: list[Any]) -> Any:
    """Their addresses, at a multiple of 256 bytes, as on a GPU."""
    room = np.empty(len(arrays) + 32, np.uint64)
    table = room[-room.ctypes.data % 256 // 8 :][: len(arrays)]
    table[:] = [array.ctypes.data for array in arrays]
    return table


def _array(array: Any, number: int, slot: int = 0) -> Array:
    return Array(array.ctypes.data, array.nbytes, min(array.itemsize, 4), number, slot)


def _slot(value: Any) -> bytes:
    """The eight bytes of an argument."""
    if not isinstance(value, np.generic):
        value = np.uintp(0 if value is None else value.ctypes.data)
    return value.tobytes().ljust(8, b"\0")
