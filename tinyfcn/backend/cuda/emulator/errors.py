"""What a kernel did wrong, as a Python exception."""

from __future__ import annotations

import ctypes
from typing import Any

Three = ctypes.c_uint * 3


class Fault(ctypes.Structure):
    """As in fault.h."""

    _fields_ = [
        ("kind", ctypes.c_int),
        ("block", Three), ("thread", Three),
        ("other_block", Three), ("other_thread", Three),
        ("line", ctypes.c_int), ("other_line", ctypes.c_int),
    ]  # fmt: skip


KINDS = {
    1: "barrier diverged",
    2: "barrier skipped",
    3: "warp diverged",
    4: "not in mask",
    5: "lane away",
}


class BuildError(RuntimeError):
    """The C++ compiler is missing, or refuses a .cu file."""


class KernelError(RuntimeError):
    """A kernel did what it must not.

    Attributes:
        kind: one of the values of ``KINDS``.
        kernel: "relu<float>".
        file, line: where in the .cu files; the line is 0 if it is unknown.
        block, thread: who, (x, y, z) each.
    """

    def __init__(self, message: str, kernel: str, file: str, fault: Fault) -> None:
        self.kind = KINDS[fault.kind]
        self.kernel = kernel
        self.file = file
        self.line = fault.line
        self.block = tuple(fault.block)
        self.thread = tuple(fault.thread)
        where = f"{file}:{self.line}" if self.line else file
        super().__init__(
            f"{kernel} ({where}), block {self.block}, thread {self.thread}: {self.kind}: {message}"
        )


def kernel_error(kernel: str, file: str, fault: Fault) -> KernelError:
    """The exception for a fault that the runtime reports."""
    return KernelError(_message(KINDS[fault.kind], fault), kernel, file, fault)


def _message(kind: str, fault: Fault) -> str:
    other: Any = tuple(fault.other_thread)
    there = f"waits at line {fault.other_line}" if fault.other_line else "has ended"
    return {
        "barrier diverged": f"thread {other} {there}, and all threads of a block must wait at one",
        "barrier skipped": f"thread {other} has ended, and all threads of a block must wait",
        "warp diverged": f"lanes named in its mask do not come: thread {other} {there}",
        "not in mask": "the mask of a warp operation must name the lane that calls",
        "lane away": "a shuffle reads from a lane that takes no part",
    }[kind]
