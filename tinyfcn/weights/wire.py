"""Reads the wire format of protocol buffers, as far as weights need it.

A message is a row of fields, each a tag (number · 8 + kind) and a value: a varint (7 bits a byte,
lowest first, the top bit says that more follow), 8 or 4 bytes, or a length and that many bytes,
which may be text, an inner message, or packed numbers.

Source: https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from tinyfcn.weights.file import WeightsError, reading

FIXED = {1: 8, 5: 4}  # bytes of a field of that kind
VARINT, BYTES = 0, 2
MOST_NUMBERS = 300_000  # tags, lengths and varints; a network has some thousands

Value = int | memoryview


class Reader:
    """Reads the messages of one file, which together have no more than ``MOST_NUMBERS``."""

    def __init__(self) -> None:
        self._left = MOST_NUMBERS

    def message(self, value: Value) -> Mapping[int, list[Value]]:
        """The values of each field by its number; what has a length comes as a view, not copied.

        Raises:
            WeightsError: if the message ends within a field, or is not one.
        """
        rest, fields = content(value), defaultdict[int, list[Value]](list)
        while rest:
            tag, rest = self._varint(rest)
            number, kind = tag >> 3, tag & 7
            if kind == VARINT:
                value, rest = self._varint(rest)
            elif kind == BYTES or kind in FIXED:
                size, rest = (FIXED[kind], rest) if kind in FIXED else self._varint(rest)
                if size > len(rest):
                    raise WeightsError(
                        f"truncated: field {number} has {size:,} bytes, {len(rest)} left"
                    )
                value, rest = rest[:size], rest[size:]
            else:
                raise WeightsError(f"damaged: field {number} is of kind {kind}, which there is not")
            fields[number].append(value)
        return fields

    def integers(self, values: list[Value]) -> list[int]:
        """The integers of a field: each stands by itself, or several are packed into one value."""
        numbers = []
        for value in values:
            if isinstance(value, int):
                numbers.append(value)
                continue
            while value:
                number, value = self._varint(value)
                numbers.append(number)
        return numbers

    def _varint(self, data: memoryview) -> tuple[int, memoryview]:
        """A number, and what follows it."""
        self._left -= 1
        if self._left < 0:
            raise WeightsError(f"more than {MOST_NUMBERS:,} tags and lengths of fields: rejected")
        number = 0
        for i, byte in enumerate(data[:10]):
            number |= (byte & 0x7F) << 7 * i
            if byte < 0x80:
                return number, data[i + 1 :]
        raise WeightsError("truncated within a number, or it is longer than ten bytes")


def content(value: Value) -> memoryview:
    """The bytes of a message, of text, or of packed numbers."""
    if isinstance(value, int):
        raise WeightsError("damaged: a number stands where a message should, or text")
    return value


def text(values: list[Value]) -> str:
    """A field of text; empty if it is not there."""
    with reading("damaged: a name is not text"):
        return "".join(str(content(value), "utf-8") for value in values[-1:])
