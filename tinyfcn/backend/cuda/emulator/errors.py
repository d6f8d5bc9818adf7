"""What a kernel did wrong, as a Python exception."""

from __future__ import annotations

import ctypes
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
        ("parameter", ctypes.c_int), ("size", ctypes.c_int),
        ("offset", ctypes.c_longlong), ("address", ctypes.c_ulonglong),
        ("code", ctypes.c_ulonglong), ("other_code", ctypes.c_ulonglong),
    ]  # fmt: skip


# In the order of fault.h.
KINDS = (
    "", "barrier diverged", "barrier skipped", "warp diverged", "not in mask", "lane away",
    "outside", "changed", "stack", "division", "race", "uninitialised", "misaligned", "index",
    "dynamic",
)  # fmt: skip
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
        block, thread: who, (x, y, z) each; the thread is None if only the block is known.
    """

    def __init__(
        self, kernel: str, file: str, fault: Fault, names: Sequence[str], arguments: Sequence[Any],
        library: Path,
    ) -> None:  # fmt: skip
        self.kind = KINDS[fault.kind]
        self.kernel = kernel
        self.file, self.line = file, fault.line
        if fault.code and not fault.line:
            self.file, self.line = place(library, fault.code) or (file, 0)
        self.other_line = fault.other_line
        if fault.other_code:
            self.other_line = (place(library, fault.other_code) or (file, 0))[1]
        self.parameter: str | None = None
        array: Any = None
        if 0 <= fault.parameter < len(names) and self.kind in ("outside", "changed", "race"):
            self.parameter, array = names[fault.parameter], arguments[fault.parameter]
        self.block = tuple(fault.block)
        self.thread = None if self.kind == "changed" else tuple(fault.thread)
        who = "" if self.thread is None else f", thread {self.thread}"
        where = f"{self.file}:{self.line}" if self.line else self.file
        what = self._what(fault, array, arguments)
        super().__init__(f"{kernel} ({where}), block {self.block}{who}: {what}")

    def _what(self, fault: Fault, array: Any, arguments: Sequence[Any]) -> str:
        other = f"thread {tuple(fault.other_thread)}"
        there = f"waits at line {self.other_line}" if self.other_line else "has ended"
        does, did = ACCESSES[fault.access], ACCESSES[fault.other_access]
        if self.kind == "outside":
            if array is not None:
                return f"{does} {_element(self.parameter, array, fault.offset)}"
            empty = fault.address < 1 << 16 and any(a is None for a in arguments)
            near = "through a null pointer" if empty else "far from all arrays"
            return f"{does} address {fault.address:#x}, {near}"
        if self.kind == "changed":
            return f"a thread wrote {_element(self.parameter, array, fault.offset)}"
        if self.kind == "race":
            if tuple(fault.other_block) != self.block:
                other += f" of block {tuple(fault.other_block)}"
            what = "shared memory"
            if array is not None:
                what = f"{self.parameter}[{fault.offset // array.itemsize}]"
            return f"{does} {what}, which {other} {did} at line {self.other_line} (race)"
        return {
            "barrier diverged": f"waits at a barrier while {other} {there}",
            "barrier skipped": f"waits at a barrier while {other} {there}",
            "warp diverged": f"waits for a lane of its mask, but {other} {there}",
            "not in mask": "calls a warp operation with a mask that does not name its lane",
            "lane away": "shuffles a value from a lane that takes no part",
            "stack": "local variables need more than the 112 KB of a thread's stack here",
            "division": "divides an integer by zero",
            "uninitialised": "reads shared memory that no thread of the block has written",
            "misaligned": "accesses a vector at an address that is no multiple of its size",
            "index": f"index {fault.offset} is beyond the length of an array variable",
            "dynamic": f"{does} byte {fault.offset} of dynamic shared memory, beyond what the "
                       "launch asks for",
        }[self.kind]  # fmt: skip


def _element(name: str | None, array: Any, offset: int) -> str:
    return f"{name}[{offset // array.itemsize}], but it has {array.size} elements {array.shape}"


def place(library: Path, code: int) -> tuple[str, int] | None:
    """File and line of an offset in a library, as its debug information says."""
    return places(library, [code])[0]


def places(library: Path, codes: Sequence[int]) -> list[tuple[str, int] | None]:
    """File and line of each offset."""
    command = ["addr2line", "-e", str(library), *(hex(code) for code in codes)]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return [None] * len(codes)
    found: list[tuple[str, int] | None] = []
    for text in answer.stdout.splitlines():
        file, _, line = text.split(" ")[0].rpartition(":")
        found.append((Path(file).name, int(line)) if line.isdigit() and int(line) else None)
    return found
