"""A compiled .cu file, loaded into this process."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinyfcn.backend.cuda.emulator.errors import ACCESSES, Fault, Three, places, shared_arrays


class Array(ctypes.Structure):
    """As in fault.h."""

    _fields_ = [
        ("data", ctypes.c_void_p), ("bytes", ctypes.c_ulonglong),
        ("granule", ctypes.c_int), ("parameter", ctypes.c_int), ("slot", ctypes.c_void_p),
    ]  # fmt: skip


class Launch(ctypes.Structure):
    """As in fault.h."""

    _fields_ = [
        ("instance", ctypes.c_int), ("grid", Three), ("block", Three),
        ("shared_bytes", ctypes.c_uint), ("seed", ctypes.c_ulonglong),
        ("guard", ctypes.c_int), ("profile", ctypes.c_int), ("only", ctypes.c_ulonglong),
        ("trace", ctypes.c_ulonglong),
        ("slot_count", ctypes.c_int), ("array_count", ctypes.c_int),
        ("slots", ctypes.c_char_p), ("arrays", ctypes.POINTER(Array)),
    ]  # fmt: skip


class Instance(ctypes.Structure):
    """As in runtime.h."""

    _fields_ = [
        ("name", ctypes.c_char_p), ("run", ctypes.c_void_p), ("signature", ctypes.c_char_p),
    ]  # fmt: skip


# As struct Row in profile.h; the counts are those of a Cost.
ROW = np.dtype([("code", "u8"), ("kind", "i4"), ("shared", "i4"), ("counts", "i8", 4)])
# As struct Step in trace.h.
STEP = np.dtype([
    ("code", "u8"), ("address", "u8"), ("value", "u1", 16),
    *((name, "i4") for name in (
        "kind", "shared", "size", "thread", "line", "request", "cost", "least")),
])  # fmt: skip


class Cost(NamedTuple):
    """What the accesses of one kind at one line would cost on a GPU; counted in profile.h.

    Attributes:
        requests: by warps.
        accesses: by threads.
        cost: global memory: sectors of 32 bytes moved; shared memory: turns that requests take.
        least: the same if neighbours accessed neighbours, without bank conflicts.
    """

    kernel: str
    file: str
    line: int
    memory: str  # "global" or "shared"
    access: str  # "reads", "writes" or "updates"
    requests: int
    accesses: int
    cost: int
    least: int

    @property
    def factor(self) -> float:
        """How many times dearer than need be; 1 is best."""
        return self.cost / max(self.least, 1)


class Library:
    """The compiled kernels of one .cu file.

    Attributes:
        signatures: of all instances, in their order, the C++ types: {"relu<float>":
            "void(const float*, float*, long long int)", …}.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.code = ctypes.CDLL(str(path))
        self.code.kernels.restype = ctypes.POINTER(Instance)
        self.code.launch.argtypes = [ctypes.POINTER(Launch), ctypes.POINTER(Fault)]
        listed = itertools.takewhile(lambda instance: instance.name, self.code.kernels())
        self.signatures = {
            instance.name.decode(): instance.signature.decode().split("F = ")[1].rstrip("]")
            for instance in listed
        }
        self._places: dict[int, tuple[str, int]] = {}

    def take_profile(self) -> Iterator[tuple[tuple[str, int, str, str], Any]]:
        """What accesses cost since the last call: file, line, memory and access; the counts."""
        rows = np.zeros(4096, ROW)
        rows = rows[: self.code.take_profile(rows.ctypes.data_as(ctypes.c_void_p), len(rows))]
        at = self.places(rows["code"].tolist())
        for row in rows:
            memory, access = "shared" if row["shared"] else "global", ACCESSES[row["kind"]]
            yield (*at[row["code"]], memory, access), row["counts"]

    def take_trace(self) -> Any:
        """What the threads of the recorded block did since the last call, in order: STEPs."""
        steps = np.zeros(self.code.take_trace(None, 0), STEP)
        self.code.take_trace(steps.ctypes.data_as(ctypes.c_void_p), len(steps))
        return steps

    def places(self, codes: Sequence[int]) -> dict[int, tuple[str, int]]:
        """File and line of each place in the code."""
        unknown = [*{*codes} - {*self._places}]
        if unknown:
            self._places.update(zip(unknown, places(self.path, unknown), strict=True))
        return self._places

    def shared_arrays(self, function: str) -> list[tuple[int, int, str]]:
        """First byte, bytes and name of a kernel's variables in shared memory."""
        return shared_arrays(self.path, function)


class Trace(NamedTuple):
    """What the threads of one block did in a launch.

    Attributes:
        steps: each access and each wait in their order (STEP); addresses of shared memory count
            from where it begins.
        arrays: of the launch, with their names.
    """

    function: str
    library: Library
    steps: Any
    arrays: list[tuple[str, Any]]
