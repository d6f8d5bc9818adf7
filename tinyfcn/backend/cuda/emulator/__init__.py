"""The emulator: runs the unmodified ``kernels/*.cu`` on any machine with g++, on NumPy arrays.

Each .cu file becomes a shared library (build.py): a header gives g++ the words of CUDA (dialect.h)
and a small runtime runs the threads of a block as fibers (runtime.cpp).
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from tinyfcn.backend.cuda.emulator import build
from tinyfcn.backend.cuda.emulator.errors import BuildError, Fault, KernelError, kernel_error
from tinyfcn.backend.cuda.launcher import Kernel

__all__ = ["BuildError", "Emulator", "KernelError"]


_Three = ctypes.c_uint * 3


class _Instance(ctypes.Structure):
    """As in runtime.h."""

    _fields_ = [
        ("name", ctypes.c_char_p), ("run", ctypes.c_void_p), ("signature", ctypes.c_char_p),
    ]  # fmt: skip


class Library:
    """The compiled kernels of one .cu file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.code = ctypes.CDLL(str(path))
        self.code.kernels.restype = ctypes.POINTER(_Instance)
        self.code.launch.argtypes = [
            ctypes.c_int, _Three, _Three, ctypes.c_char_p, ctypes.c_uint64,
            ctypes.POINTER(Fault),
        ]  # fmt: skip
        self.numbers: dict[str, int] = {}
        self.signatures: dict[str, str] = {}  # the C++ type: "void(const float*, float*, …)"
        for number, instance in enumerate(self.code.kernels()):
            if instance.name is None:
                break
            name = instance.name.decode()
            self.numbers[name] = number
            self.signatures[name] = instance.signature.decode().split("F = ")[1].rstrip("]")


class Emulator:
    """An engine (see ``Engine`` in launcher.py) that needs no GPU.

    Args:
        seed: None runs threads and blocks in order; a number runs them in an order drawn from it.
        folder: of the .cu files, ``kernels/`` by default.
        kernels: the declarations of the kernels in it, all declared ones by default.
    """

    name = "emulator"
    xp: Any = np

    def __init__(
        self, mode: str = "fast", seed: int | None = None,
        folder: Path | None = None, kernels: Mapping[str, Kernel] | None = None,
    ) -> None:  # fmt: skip
        if mode not in build.MODES:
            raise ValueError(f"emulator: expected mode {', '.join(build.MODES)}, got {mode!r}")
        self.mode = mode
        self.seed = seed
        self._folder = folder
        self._kernels = kernels
        self._libraries: dict[str, Library] = {}
        self._lock = threading.Lock()  # the runtime of a library runs one launch at a time

    @property
    def folder(self) -> Path:
        """Of the .cu files."""
        if self._folder is None:
            from tinyfcn.backend.cuda.kernels import folder

            self._folder = folder()
        return self._folder

    @property
    def kernels(self) -> Mapping[str, Kernel]:
        """The declared kernels."""
        if self._kernels is None:
            from tinyfcn.backend.cuda.kernels import KERNELS

            self._kernels = KERNELS
        return self._kernels

    def library(self, file: str) -> Library:
        """The library of a .cu file; compiled if that was not done before."""
        if file not in self._libraries:
            instances = [
                f"{name}<{T}>" if kernel.templated else name
                for name, kernel in self.kernels.items() if kernel.file == file
                for T in (("float", "double") if kernel.templated else ("",))
            ]  # fmt: skip
            self._libraries[file] = Library(build.library(self.folder / file, instances, self.mode))
        return self._libraries[file]

    def build_all(self) -> None:
        """Compile all files now, side by side, and not each when it is first needed."""
        files = sorted({kernel.file for kernel in self.kernels.values()})
        self.library(files[0])  # and with it the runtime that all share
        with ThreadPoolExecutor() as pool:
            list(pool.map(self.library, files))

    def run(
        self, file: str, function: str, grid: tuple[int, ...], block: tuple[int, ...],
        arguments: tuple[Any, ...], shared_mem: int,
    ) -> None:  # fmt: skip
        """Run ``function``, "relu<float>" say, on NumPy arrays, None and NumPy scalars.

        Raises:
            BuildError: if the file does not compile.
            KernelError: if the kernel does what it must not.
        """
        library = self.library(file)
        if shared_mem > build.DYNAMIC_SHARED:
            raise ValueError(
                f"{function}: expected at most {build.DYNAMIC_SHARED} bytes of dynamic shared "
                f"memory, got {shared_mem}"
            )
        slots = b"".join(_slot(value) for value in arguments)
        fault = Fault()
        with self._lock:
            failed = library.code.launch(
                library.numbers[function], _Three(*grid), _Three(*block), slots,
                0 if self.seed is None else self.seed + 1, fault,
            )  # fmt: skip
        if failed:
            raise kernel_error(function, file, fault)


def _slot(value: Any) -> bytes:
    """The eight bytes of an argument."""
    if value is None:
        return bytes(8)
    if isinstance(value, np.ndarray):
        return int(value.ctypes.data).to_bytes(8, "little")
    return value.tobytes().ljust(8, b"\0")
