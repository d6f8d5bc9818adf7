"""A compiled .cu file, loaded into this process."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinyfcn.backend.cuda.emulator.errors import ACCESSES, Fault, Three, places


class Array(ctypes.Structure):
    """As in fault.h."""

    _fields_ = [
        ("data", ctypes.c_void_p), ("bytes", ctypes.c_ulonglong),
        ("granule", ctypes.c_int), ("parameter", ctypes.c_int),
    ]  # fmt: skip


class Launch(ctypes.Structure):
    """As in fault.h."""

    _fields_ = [
        ("instance", ctypes.c_int), ("grid", Three), ("block", Three),
        ("shared_bytes", ctypes.c_uint), ("seed", ctypes.c_ulonglong),
        ("guard", ctypes.c_int), ("profile", ctypes.c_int),
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
        unknown = [code for code in rows["code"].tolist() if code not in self._places]
        if unknown:
            self._places.update(zip(unknown, places(self.path, unknown), strict=True))
        for row in rows:
            memory, access = "shared" if row["shared"] else "global", ACCESSES[row["kind"]]
            yield (*self._places[row["code"]], memory, access), row["counts"]
