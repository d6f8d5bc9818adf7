"""Compiles every kernel with NVIDIA's own compiler, on any machine: no GPU and no driver.

It is the compiler and these are the options that CuPy uses on a GPU; a warning is an error. The
emulator's g++ cannot stand in for it: it accepts what a GPU has not, such as the headers of the
system. ``tinyfcn kernels resources`` prints what comes out.
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
from tinyfcn.backend.errors import BackendError

ARCHITECTURES = ("sm_75", "sm_80", "sm_90")
OPTIONS = ("-std=c++17", "-ftz=true", "--device-as-default-execution-space")
PACKAGE = "nvidia-cuda-nvrtc"

_LIBRARY = re.compile(r"libnvrtc\.so\.\d+$|nvrtc64_\d+_0\.dll$")


class NvrtcError(BackendError):
    """The NVRTC library is missing on this machine, or does not accept a file, or warns."""


class Usage(NamedTuple):
    """What one kernel takes of a multiprocessor, and its code."""

    kernel: str
    architecture: str
    registers: int  # of a thread
    shared: int  # bytes of a block, without dynamic shared memory
    spills: int  # bytes that did not fit into registers, stored and loaded
    stack: int  # bytes of a thread
    ptx: str  # its body in NVIDIA's portable assembly language

    def __str__(self) -> str:
        return (
            f"{self.kernel:32} {self.architecture} {self.registers:4} registers "
            f"{self.shared:6} bytes shared {self.stack:4} stack {self.spills:4} spilled"
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
