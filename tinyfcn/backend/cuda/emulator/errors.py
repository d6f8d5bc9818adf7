"""What a kernel did wrong, as a Python exception."""

from __future__ import annotations

import ctypes
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinyfcn.backend.errors import BackendError

Three = ctypes.c_uint * 3


class Fault(ctypes.Structure):
    """As in fault.h."""

    _fields_ = [
        ("kind", ctypes.c_int),
        ("block", Three), ("thread", Three),
        ("other_block", Three), ("other_thread", Three),
        ("line", ctypes.c_int), ("other_line", ctypes.c_int),
        ("access", ctypes.c_int), ("other_access", ctypes.c_int),
        ("parameter", ctypes.c_int),
        ("offset", ctypes.c_longlong), ("address", ctypes.c_ulonglong),
        ("code", ctypes.c_ulonglong), ("other_code", ctypes.c_ulonglong),
    ]  # fmt: skip


# What is said of each kind of fault, in the order of fault.h.
KINDS = {
    "barrier diverged": "waits at a barrier while {other} {state}",
    "barrier skipped": "waits at a barrier while {other} {state}",
    "warp diverged": "waits for a lane of its mask, but {other} {state}",
    "not in mask": "calls a warp operation with a mask that does not name its lane",
    "lane away": "shuffles a value from a lane that takes no part",
    "outside": "{does} {outside}",
    "changed": "a thread wrote {outside}",
    "stack": "local variables need more than the 112 KB of a thread's stack here",
    "division": "divides an integer by zero",
    "race": "{does} {element}, which {other} {did} at line {other_line} (race)",
    "uninitialised": "reads shared memory that no thread of the block has written",
    "misaligned": "accesses a vector at an address that is no multiple of its size",
    "index": "index {offset} is beyond the length of an array variable",
    "dynamic": "{does} byte {offset} of dynamic shared memory, beyond what the launch asks for",
    "awaited": "{does} shared memory before the copy that fills it was waited for",
}
ACCESSES = ("reads", "writes", "updates")


class BuildError(BackendError):
    """The C++ compiler is missing, or rejects a .cu file."""


class KernelError(RuntimeError):
    """A kernel did what it must not.

    Attributes:
        kind: one of ``KINDS``.
        kernel: "relu<float>".
        file, line: where in the .cu and .cuh files; the line is 0 if it is unknown.
        other_line: of the other access of a race, of the other barrier; 0 if there is none.
        parameter: the name of the array, or None.
        other_file, other_block, other_thread: of the other access of a race.
        block, thread: who, (x, y, z) each; the thread is None if only the block is known.
    """

    def __init__(
        self, kernel: str, file: str, fault: Fault, names: Sequence[str], arguments: Sequence[Any],
        library: Path,
    ) -> None:  # fmt: skip
        self.kind = list(KINDS)[fault.kind - 1]
        self.kernel = kernel
        here, there = places(library, [fault.code, fault.other_code])
        self.file = file if fault.line or not here[1] else here[0]
        self.line: int = fault.line or here[1]
        self.other_line: int = there[1] or fault.other_line
        self.other_file = there[0]
        self.block = tuple(fault.block)
        self.other_block, self.other_thread = tuple(fault.other_block), tuple(fault.other_thread)
        self.thread = None if self.kind == "changed" else tuple(fault.thread)
        who = "" if self.thread is None else f", thread {self.thread}"
        where = f"{self.file}:{self.line}" if self.line else self.file

        self.parameter: str | None = None
        element, outside = "shared memory", f"address {fault.address:#x}, far from all arrays"
        if 0 <= fault.parameter < len(names) and self.kind in ("outside", "changed", "race"):
            self.parameter, array = names[fault.parameter], arguments[fault.parameter]
            element = f"{self.parameter}[{fault.offset // array.itemsize}]"
            outside = f"{element}, but it has {array.size} elements {array.shape}"
        elif fault.address < 1 << 16 and any(a is None for a in arguments):
            outside = f"address {fault.address:#x}, through a null pointer"
        other = f"thread {self.other_thread}"
        if self.kind == "race" and self.other_block != self.block:
            other += f" of block {self.other_block}"
        what = KINDS[self.kind].format(
            does=ACCESSES[fault.access], did=ACCESSES[fault.other_access],
            element=element, outside=outside, offset=fault.offset,
            other=other, other_line=self.other_line,
            state=f"waits at line {self.other_line}" if self.other_line else "has ended",
        )  # fmt: skip
        super().__init__(f"{kernel} ({where}), block {self.block}{who}: {what}")


def shared_arrays(library: Path, function: str) -> list[tuple[int, int, str]]:
    """First byte, bytes and name of each variable in shared memory of a kernel, "gemm_2<float>"."""
    try:
        command = ["readelf", "--syms", "--wide", "--demangle", str(library)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    variable = rf"^ *\d+: (\w+) +(\w+) TLS .*?\b{re.escape(function)}\(.*\)::(\w+)$"
    found = re.findall(variable, answer, re.MULTILINE)
    return sorted({(int(at, 16), int(size, 0), name) for at, size, name in found})


def places(library: Path, codes: Sequence[int]) -> list[tuple[str, int]]:
    """File and line of offsets in a library, as its debug information says; ("", 0) if unknown."""
    command = ["addr2line", "-e", str(library), *map(hex, codes)]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        answer = "??:0\n" * len(codes)
    matches = (re.match(r"(.+):([1-9]\d*)", line) for line in answer.splitlines())
    return [(Path(match[1]).name, int(match[2])) if match else ("", 0) for match in matches]
