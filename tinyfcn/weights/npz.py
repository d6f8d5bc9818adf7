"""Reads and writes NumPy's ``.npz``, a zip of ``.npy`` files, as our own checkpoints are.

A ``.npy`` is the bytes ``\\x93NUMPY``, a version, the length of a header, the header (the text of a
Python dict: dtype, order, shape), and the numbers. ``numpy.load`` would reserve the memory that the
header asks for before it looks whether the numbers are there; so the header is read here.
"""

from __future__ import annotations

import ast
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tinyfcn.weights import tree, zipped
from tinyfcn.weights.file import WeightFile, WeightsError, numbers, preprocessing_of, shaped

MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 10_000


def recognises(path: Path, start: bytes) -> bool:
    """Whether the file is a zip of nothing but arrays, or was meant to be one and is damaged."""
    names = zipped.names(path, start)
    return bool(names) and all(name.endswith(".npy") for name in names)


def read(path: Path) -> WeightFile:
    """The arrays by name; from a checkpoint, the parameters and buffers of its model."""
    found = arrays(path)
    if tree.JSON not in found:
        return WeightFile(found)
    state = tree.unflatten(found)
    model, description = state.get("model"), state.get("description")
    if not isinstance(model, dict):
        raise WeightsError("damaged checkpoint: it holds no model")
    return WeightFile(model, preprocessing_of(description), description)


def arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All members of the archive by name, text too.

    Raises:
        WeightsError: if it is no ``.npz``, or damaged; says what was found.
    """
    with open(path, "rb") as file:
        start = file.read(8)
    if not start:
        raise WeightsError("the file is empty")
    if not start.startswith(zipped.MAGIC):
        one = start.startswith(MAGIC)
        raise WeightsError("it is a single array (.npy)" if one else f"it starts with {start!r}")
    with zipped.opened(path) as archive:
        return {name.removesuffix(".npy"): _array(archive, name) for name in archive.names}


def write(file: BinaryIO, arrays: Mapping[str, NDArray[Any]]) -> None:
    """What ``numpy.savez`` writes, except that it would pickle objects and reserves some names."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _array(archive: zipped.Zip, name: str) -> NDArray[Any]:
    if not name.endswith(".npy"):
        raise WeightsError(f"a zip archive that holds {name}, which is not a .npy")
    data = archive.read(name)
    if data[:6] != MAGIC or len(data) < 12 or data[6] not in (1, 2, 3):
        raise WeightsError(f"{name} does not start as a .npy does, but with {data[:8]!r}")
    begin = 10 if data[6] == 1 else 12
    end = begin + int.from_bytes(data[8:begin], "little")
    if end - begin > _LONGEST_HEADER:
        raise WeightsError(f"{name}: its header is {end - begin:,} bytes long: rejected")
    try:
        header = ast.literal_eval(data[begin:end].decode("latin1").strip())
        descr, fortran, shape = (header[key] for key in ("descr", "fortran_order", "shape"))
        dtype = np.dtype(descr) if isinstance(descr, str) else None
        whole = all(isinstance(n, int) and n >= 0 for n in shape) and isinstance(shape, tuple)
    except (KeyError, MemoryError, RecursionError, SyntaxError, TypeError, ValueError) as error:
        raise WeightsError(f"{name}: its header cannot be read ({error})") from error
    if dtype is None or dtype.kind not in "fiubU" or dtype.itemsize == 0 or not whole:
        raise WeightsError(f"{name} holds objects or records (dtype {descr!r}), not numbers")
    flat = numbers(name, memoryview(data)[end:], dtype)
    return shaped(name, flat, shape, "F" if fortran else "C")
