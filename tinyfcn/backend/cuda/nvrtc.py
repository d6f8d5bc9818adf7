"""Compiles every kernel with NVIDIA's own compiler, on any machine: no GPU and no driver.

It is the compiler and these are the options that CuPy uses on a GPU; a warning is an error. The
emulator's g++ cannot stand in for it: it accepts what a GPU has not, such as the headers of the
system. ``tinyfcn kernels resources`` prints what comes out, and how many blocks have room.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from tinyfcn.backend.cuda.kernels import declared, folder, instances
from tinyfcn.backend.cuda.launcher import THREADS
from tinyfcn.backend.errors import BackendError

ARCHITECTURES = ("sm_75", "sm_80", "sm_90")
OPTIONS = ("-std=c++17", "-ftz=true", "--device-as-default-execution-space")
PACKAGE = "nvidia-cuda-nvrtc"

_LIBRARY = re.compile(r"libnvrtc\.so\.\d+$|nvrtc64_\d+_0\.dll$")


class NvrtcError(BackendError):
    """The NVRTC library is missing on this machine, or does not accept a file, or warns."""


class Room(NamedTuple):
    """What a multiprocessor holds at a time, besides four times ``REGISTERS``."""

    warps: int
    blocks: int
    shared: int  # bytes, of which each block has some kept for the system
    kept: int = 1024


REGISTERS = 1 << 14  # of a quarter of a multiprocessor, which every fourth warp has for its own
ROOM = {
    "sm_75": Room(32, 16, 64 << 10, kept=0), "sm_80": Room(64, 32, 164 << 10),
    "sm_86": Room(48, 16, 100 << 10), "sm_89": Room(48, 24, 100 << 10),
    "sm_90": Room(64, 32, 228 << 10), "sm_100": Room(64, 32, 228 << 10),
    "sm_103": Room(64, 32, 228 << 10), "sm_120": Room(48, 24, 100 << 10),
}  # fmt: skip


class Usage(NamedTuple):
    """What one kernel takes of a multiprocessor, and its code."""

    kernel: str
    architecture: str
    threads: int  # of a block
    registers: int  # of a thread
    shared: int  # bytes of a block, without dynamic shared memory
    spills: int  # bytes that did not fit into registers, stored and loaded
    stack: int  # bytes of a thread
    ptx: str  # its body in NVIDIA's portable assembly language

    @property
    def blocks(self) -> int:
        """How many a multiprocessor has room for; 0 if it is not known (``ROOM``)."""
        room = ROOM.get(self.architecture, Room(0, 0, 0))
        warps = -(-self.threads // 32)
        quarter = REGISTERS // (32 * -(-self.registers // 8) * 8)  # given out by eight
        return min(
            room.blocks, room.warps // warps, 4 * quarter // warps,
            room.shared // max(self.shared + room.kept, 1),
        )  # fmt: skip

    def __str__(self) -> str:
        return (
            f"{self.kernel:32} {self.architecture} {self.registers:4} registers "
            f"{self.shared:6} bytes shared {self.stack:4} stack {self.spills:4} spilled "
            f"{self.blocks or '?':>3} x {self.threads} threads"
        )


def library() -> ctypes.CDLL:
    """NVRTC, from its wheel or from an installed CUDA toolkit.

    Raises:
        NvrtcError: if there is neither.
    """
    wheels = (w for name in (PACKAGE, f"{PACKAGE}-cu12") for w in metadata.distributions(name=name))
    files = (file for wheel in wheels for file in wheel.files or [])
    names = [str(file.locate()) for file in files if _LIBRARY.match(file.name)]
    for name in [*names, "libnvrtc.so"]:
        with contextlib.suppress(OSError):
            return ctypes.CDLL(name)
    raise NvrtcError(f"NVRTC, which compiles kernels without a GPU, is missing: pip install "
                          f"{PACKAGE}")  # fmt: skip


def compile_file(source: Path, names: Sequence[str], architecture: str) -> list[Usage]:
    """What the kernels ``names``, ["relu<float>", …], of a .cu file take, and their code.

    Raises:
        NvrtcError: with the compiler's words, if there is an error or a warning.
    """
    nvrtc = library()

    def call(function: str, *arguments: object) -> int:
        return int(getattr(nvrtc, f"nvrtc{function}")(*arguments))

    def text(what: str) -> str:
        size = ctypes.c_size_t()
        call(f"Get{what}Size", program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(max(size.value, 1))
        call(f"Get{what}", program, buffer)
        return buffer.value.decode()

    program = ctypes.c_void_p()
    name = source.name.encode()
    call("CreateProgram", ctypes.byref(program), source.read_bytes(), name, 0, None, None)
    try:
        for kernel in names:
            call("AddNameExpression", program, kernel.encode())
        words = *OPTIONS, f"-arch={architecture}", f"-I{source.parent}", "--ptxas-options=-v"
        given = (ctypes.c_char_p * len(words))(*(word.encode() for word in words))
        failed = call("CompileProgram", program, len(words), given)
        log = text("ProgramLog")
        if failed or "warning" in log.lower():
            raise NvrtcError(f"NVRTC does not accept {source.name} for {architecture}:\n{log}")
        lowered = {}
        for kernel in names:
            symbol = ctypes.c_char_p()
            call("GetLoweredName", program, kernel.encode(), ctypes.byref(symbol))
            lowered[(symbol.value or b"").decode()] = kernel
        code = text("PTX")
    finally:
        call("DestroyProgram", ctypes.byref(program))
    bodies = dict(re.findall(r"\.entry (\w+)\((.*?)\n\}", code, re.DOTALL))
    reports = (part.partition("'") for part in log.split("Compiling entry function '")[1:])
    return [
        Usage(
            lowered.get(symbol, symbol), architecture,
            threads=_total(r"\.maxntid (\d+)", bodies[symbol]) or THREADS,
            registers=_total(r"Used (\d+) registers", report),
            shared=_total(r"(\d+) bytes smem", report),
            spills=_total(r"(\d+) bytes spill", report),
            stack=_total(r"(\d+) bytes stack frame", report),
            ptx=bodies[symbol],
        )
        for symbol, _, report in reports
    ]  # fmt: skip


def _total(pattern: str, report: str) -> int:
    """Of what ptxas says with -v about a kernel."""
    return sum(map(int, re.findall(pattern, report)))


def compile_all(architectures: Sequence[str] = ARCHITECTURES) -> list[Usage]:
    """Every kernel for every architecture."""
    kernels = declared()
    return [
        usage
        for file in sorted({kernel.file for kernel in kernels.values()})
        for architecture in architectures
        for usage in compile_file(folder() / file, instances(kernels, file), architecture)
    ]
