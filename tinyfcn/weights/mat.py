"""Reads MATLAB's ``.mat`` files of version 5, as far as weights need them.

After 128 bytes of header, elements follow: a type and a size of 4 bytes each, then the data, padded
to 8 bytes; a size of at most 4 shares the first word with the type, and the data the second. An
array is an element that holds others: flags, dimensions, name, then its numbers, or, for cells and
structs, an array each. Whole variables may be compressed.

``scipy.io.loadmat`` reads these files too, but takes the sizes in them at their word, and a damaged
one can cost any amount of memory. Here nothing is reserved before its bytes have been seen.

Source: MathWorks, MAT-File Format (Level 5).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tinyfcn.weights.file import WeightsError, allowance, numbers, shaped

MATRIX, COMPRESSED = 14, 15
CELL, STRUCT, CHAR = 1, 2, 4
NUMBERS = range(6, 16)  # double, single, and the integers
DTYPES = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
    16: "u1", 17: "u2", 18: "u4",
}  # fmt: skip
_DEEPEST, _MOST_ELEMENTS = 12, 1_000_000

# Numbers as an array, text as str, a cell as a list (column by column), a struct as a list of
# dicts, one for each of its elements, anything else as None.
Value = NDArray[Any] | str | list[Any] | None


def read(path: Path) -> dict[str, Value]:
    """The variables of a file.

    Raises:
        WeightsError: if it is damaged, or of version 7.3, which is HDF5.
    """
    data = memoryview(path.read_bytes())
    if data[:10] == b"MATLAB 7.3":
        raise WeightsError("version 7.3 is HDF5, which is not read; save it with '-v7' in MATLAB")
    order: Literal["<", ">"] = ">" if data[126:128] == b"MI" else "<"
    if len(data) < 128 or bytes(data[126:128]) not in (b"IM", b"MI"):
        raise WeightsError("truncated or damaged: the header of 128 bytes is not whole")
    return dict(_Mat(order, allowance(path)).variables(data[128:]))


class _Mat:
    def __init__(self, order: Literal["<", ">"], most: int) -> None:
        self.order = order
        self.left = most  # bytes that may still be unpacked
        self.elements = 0
        self.word = np.dtype("u4").newbyteorder(order)

    def variables(self, data: memoryview) -> Iterator[tuple[str, Value]]:
        at = 0
        while at < len(data):
            kind, content, at = self._element(data, at)
            if kind == COMPRESSED:
                kind, content, _ = self._element(self._unpack(content), 0)
            if kind != MATRIX:
                raise WeightsError(f"damaged: an element of type {kind} where a variable should be")
            yield self._matrix(content, 0)

    def _unpack(self, content: memoryview) -> memoryview:
        unpacker = zlib.decompressobj()
        try:
            data = unpacker.decompress(content, self.left + 1)
        except zlib.error as error:
            raise WeightsError(f"damaged: a variable cannot be unpacked ({error})") from error
        self.left -= len(data)
        if self.left < 0:
            raise WeightsError("a variable unpacks to absurdly many bytes: rejected")
        if not unpacker.eof:
            raise WeightsError("truncated within a compressed variable")
        return memoryview(data)

    def _element(self, data: memoryview, at: int) -> tuple[int, memoryview, int]:
        """(type, content, where the next one begins)."""
        self.elements += 1
        if self.elements > _MOST_ELEMENTS:
            raise WeightsError(f"more than {_MOST_ELEMENTS:,} elements: rejected")
        if len(data) - at < 8:
            raise WeightsError("truncated between two elements")
        kind, size = (int(n) for n in np.frombuffer(data[at : at + 8], self.word))
        if kind >> 16:
            size, kind = kind >> 16, kind & 0xFFFF
            if size > 4:
                raise WeightsError(f"damaged: a short element of {size} bytes")
            return kind, data[at + 4 : at + 4 + size], at + 8
        if size > len(data) - at - 8:
            left = len(data) - at - 8
            raise WeightsError(f"truncated: an element of {size:,} bytes, {left:,} are left")
        end = at + 8 + size
        padding = 0 if kind == COMPRESSED else -size % 8
        return kind, data[at + 8 : end], min(end + padding, len(data))

    def _numbers(self, data: memoryview, at: int) -> tuple[NDArray[Any], int]:
        kind, content, at = self._element(data, at)
        if kind not in DTYPES:
            raise WeightsError(f"damaged: an element of type {kind} where numbers should be")
        dtype = np.dtype(DTYPES[kind]).newbyteorder(self.order)
        return numbers("damaged", content, dtype), at

    def _matrix(self, data: memoryview, depth: int) -> tuple[str, Value]:
        if not len(data):
            return "", np.zeros((0, 0))
        if depth > _DEEPEST:
            raise WeightsError(f"nested more than {_DEEPEST} deep: rejected")
        flags, at = self._numbers(data, 0)
        dims, at = self._numbers(data, at)
        letters, at = self._numbers(data, at)
        shape = tuple(int(n) for n in dims[:33])
        if len(flags) != 2 or not 2 <= len(shape) <= 32 or min(shape) < 0:
            raise WeightsError(f"damaged: an array of shape {shape[:8]}")
        name = _text(letters)
        kind, count = int(flags[0]) & 0xFF, math.prod(shape)
        if kind in NUMBERS or kind == CHAR:
            flat, at = self._numbers(data, at)
            array = shaped(name[:100], flat, shape, "F")
            return name, _text(flat) if kind == CHAR else array
        if kind == CELL:
            return name, self._matrices(data, at, count, depth)
        if kind == STRUCT:
            width, at = self._numbers(data, at)
            fields, at = self._numbers(data, at)
            if len(width) != 1 or not 0 < int(width[0]) <= 1024 or len(fields) % int(width[0]):
                raise WeightsError(f"damaged: the field names of {name[:100]!r}")
            names = [_text(row) for row in fields.reshape(-1, int(width[0]))]
            values = iter(self._matrices(data, at, count * len(names), depth))
            return name, [
                {key: next(values) for key in names} for _ in range(count if names else 0)
            ]
        return name, None

    def _matrices(self, data: memoryview, at: int, count: int, depth: int) -> list[Value]:
        values = []
        for _ in range(count):
            kind, content, at = self._element(data, at)
            if kind != MATRIX:
                raise WeightsError(f"damaged: an element of type {kind} where an array should be")
            values.append(self._matrix(content, depth + 1)[1])
        return values


def _text(letters: NDArray[Any]) -> str:
    return bytes(letters.astype(np.uint8)).split(b"\0")[0].decode("latin1")
