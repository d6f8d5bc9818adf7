"""Reads and writes NumPy's ``.npz``, a zip of ``.npy`` files, as our own checkpoints are.

A ``.npy`` is a header, which tells dtype, order and shape, and the numbers. ``numpy.load`` would
reserve the memory that the header asks for before it looks whether the numbers are there; so only
the header is read by NumPy.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from numpy.lib import format as formats
from numpy.typing import NDArray

from tinyfcn.weights import tree, zipped
from tinyfcn.weights.file import (
    WeightFile,
    WeightsError,
    first_bytes,
    numbers,
    preprocessing_of,
    reading,
    shaped,
)

_LONGEST_HEADER = 10_000


def recognises(start: bytes) -> bool:
    """Whether the file is a zip that begins with an array."""
    return zipped.first_name(start).endswith(".npy")


def read(path: Path) -> WeightFile:
    """The arrays by name; from a checkpoint, the parameters and buffers of its model."""
    found = arrays(path)
    if tree.JSON not in found:
        return WeightFile(found)
    state = tree.unflatten(found)
    description = state.get("description")
    return WeightFile(state.get("model"), preprocessing_of(description), description)  # type: ignore[arg-type]


def arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All members of the archive by name, text too.

    Raises:
        WeightsError: if it is no ``.npz``, or damaged; says what was found.
    """
    start = first_bytes(path)
    if not start.startswith(zipped.MAGIC):
        one = start.startswith(formats.MAGIC_PREFIX)
        found = "is a single array (.npy)" if one else f"starts with {start[:16]!r}"
        raise WeightsError(f"not a .npz: it {found}")
    members = zipped.read(path)
    return {name.removesuffix(".npy"): _array(name, data) for name, data in members.items()}


def write(file: BinaryIO, arrays: Mapping[str, NDArray[Any]], comment: str = "") -> None:
    """What ``numpy.savez`` writes, except that it would pickle objects and reserves some names; the
    comment ends the archive."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.comment = comment.encode()
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                formats.write_array(member, array, allow_pickle=False)


def _array(name: str, data: bytearray) -> NDArray[Any]:
    if not name.endswith(".npy"):
        raise WeightsError(f"a zip archive that holds {name}, which is not a .npy")
    file = io.BytesIO(memoryview(data)[: 2 * _LONGEST_HEADER])
    with reading(f"{name}: its header cannot be read", Exception):  # which can be of many kinds
        first = formats.read_magic(file) == (1, 0)
        read_header = formats.read_array_header_1_0 if first else formats.read_array_header_2_0
        shape, fortran, dtype = read_header(file, _LONGEST_HEADER)
    if dtype.kind not in "fiubU" or dtype.itemsize == 0 or min(shape, default=0) < 0:
        raise WeightsError(f"{name} holds {dtype} of shape {shape[:8]}, not numbers")
    flat = numbers(name, memoryview(data)[file.tell() :], dtype)
    return shaped(name, flat, shape, "F" if fortran else "C")
