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
import struct
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfcn.weights.file import WeightsError, allowance, numbers, reading, shaped

MATRIX, COMPRESSED = 14, 15
CELL, STRUCT, CHAR = 1, 2, 4
NUMBERS = range(6, 16)  # double, single, and the integers
DTYPES = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
    16: "u1", 17: "u2", 18: "u4",
}  # fmt: skip
INTEGERS = DTYPES.keys() - {7, 9}
ORDERS = {b"IM": "<", b"MI": ">"}
_DEEPEST, _MOST_ELEMENTS, _MOST_FIELDS = 12, 300_000, 1000

# Numbers as an array, text as str, a cell as a list (column by column), a struct as a list of
# dicts, one for each of its elements, anything else as None.
Value = NDArray[Any] | str | list[Any] | None
Element = tuple[int, memoryview]
NOTHING: Element = (0, memoryview(b""))


def read(path: Path) -> dict[str, Value]:
    """The variables of a file.

    Raises:
        WeightsError: if it is damaged, or of version 7.3, which is HDF5.
    """
    data = memoryview(path.read_bytes())
    if data[:10] == b"MATLAB 7.3":
        raise WeightsError("version 7.3 is HDF5, which is not read; save it with '-v7' in MATLAB")
    order = ORDERS.get(bytes(data[126:128]))
    if order is None:
        raise WeightsError("truncated or damaged: the header of 128 bytes is not whole")
    return dict(_Mat(order, allowance(path)).variables(data[128:]))


class _Mat:
    def __init__(self, order: str, most: int) -> None:
        self.order = order
        self.left = most  # bytes that may still be unpacked
        self.elements_left = _MOST_ELEMENTS

    def variables(self, data: memoryview) -> Iterator[tuple[str, Value]]:
        for kind, content in self._elements(data):
            if kind == COMPRESSED:
                kind, content = next(self._elements(self._unpack(content)), NOTHING)
            yield self._matrix(kind, content)

    def _unpack(self, content: memoryview) -> memoryview:
        unpacker = zlib.decompressobj()
        with reading("damaged: a variable cannot be unpacked", zlib.error):
            data = unpacker.decompress(content, self.left + 1)
        self.left -= len(data)
        if self.left < 0 or not unpacker.eof:
            raise WeightsError("a variable is truncated, or unpacks to absurdly many bytes")
        return memoryview(data)

    def _elements(self, data: memoryview) -> Iterator[Element]:
        """The type and content of one after the other."""
        while data:
            self.elements_left -= 1
            if self.elements_left < 0:
                raise WeightsError(f"more than {_MOST_ELEMENTS:,} elements: rejected")
            if len(data) < 8:
                raise WeightsError("truncated between two elements")
            kind, size = struct.unpack(self.order + "2I", data[:8])
            start, room = 8, len(data) - 8
            if kind >> 16:
                kind, size, start, room = kind & 0xFFFF, kind >> 16, 4, 4
            if size > room:
                raise WeightsError(f"truncated: an element of {size:,} bytes, {room:,} are left")
            yield kind, data[start : start + size]
            data = data[start + size + (0 if kind == COMPRESSED else -(start + size) % 8) :]

    def _numbers(self, parts: Iterator[Element], kinds: Collection[int] = DTYPES) -> NDArray[Any]:
        kind, content = next(parts, NOTHING)
        if kind not in kinds:
            raise WeightsError(f"damaged: an element of type {kind} where numbers should be")
        return numbers("damaged", content, np.dtype(self.order + DTYPES[kind]))

    def _matrix(self, kind: int, data: memoryview, depth: int = 0) -> tuple[str, Value]:
        if kind != MATRIX or depth > _DEEPEST:
            raise WeightsError(
                f"damaged: type {kind} at depth {depth}, where an array should be; "
                f"the deepest that is read is {_DEEPEST}"
            )
        if not data:
            return "", np.zeros((0, 0))
        parts = self._elements(data)
        flags, dims, letters = (self._numbers(parts, INTEGERS) for _ in range(3))
        if len(flags) != 2 or not 2 <= len(dims) <= 32:
            raise WeightsError(f"damaged: an array of {len(dims)} axes")
        name, kind, shape = _text(letters), int(flags[0]) & 0xFF, tuple(dims.tolist())
        if kind == CHAR:
            return name, _text(self._numbers(parts, INTEGERS))
        if kind in NUMBERS:
            return name, shaped(name[:100], self._numbers(parts), shape, "F")
        if kind not in (CELL, STRUCT):
            return name, None
        keys = [""]
        if kind == STRUCT:
            lengths, fields = (self._numbers(parts, INTEGERS) for _ in range(2))
            width = int(lengths.sum())  # one for all of them
            if not 0 < width <= 1024 or len(fields) % width or len(fields) > width * _MOST_FIELDS:
                raise WeightsError(f"damaged: the field names of {name[:100]!r}")
            keys = [_text(row) for row in fields.reshape(-1, width)]
        count = math.prod(shape) * len(keys)
        values = [self._matrix(*next(parts, NOTHING), depth + 1)[1] for _ in range(count)]
        if kind == CELL:
            return name, values
        rows = (values[i : i + len(keys)] for i in range(0, count, len(keys) or 1))
        return name, [dict(zip(keys, row, strict=True)) for row in rows]


def _text(letters: NDArray[Any]) -> str:
    return bytes(letters.astype(np.uint8)).split(b"\0")[0].decode("latin1")
