"""Reads the wire format of protocol buffers, as far as weights need it.

A message is a row of fields, each a tag (number · 8 + kind) and a value: a varint (7 bits a byte,
lowest first, the top bit says that more follow), 8 or 4 bytes, or a length and that many bytes,
which may be text, an inner message, or packed numbers.

Source: https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from collections.abc import Iterator

from tinyfcn.weights.file import WeightsError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MOST_FIELDS = 1_000_000  # a network has some thousands; numbers are packed into one

Value = int | memoryview


class Reader:
    """Reads the fields of messages, of one file no more than ``MOST_FIELDS``."""

    def __init__(self) -> None:
        self._left = MOST_FIELDS

    def fields(self, message: Value) -> Iterator[tuple[int, Value]]:
        """(number, value) of each field; what has a length comes as a view, nothing is copied.

        Raises:
            WeightsError: if the message ends within a field, or is not one.
        """
        if isinstance(message, int):
            raise WeightsError("damaged: a number stands where a message should")
        at, end = 0, len(message)
        while at < end:
            self._count()
            tag, at = _varint(message, at)
            number, kind = tag >> 3, tag & 7
            if kind == VARINT:
                value, at = _varint(message, at)
                yield number, value
                continue
            if kind == BYTES:
                size, at = _varint(message, at)
            elif kind in (FIXED32, FIXED64):
                size = 4 if kind == FIXED32 else 8
            else:
                raise WeightsError(f"damaged: field {number} is of kind {kind}, which there is not")
            if size > end - at:
                raise WeightsError(f"truncated: field {number} has {size:,} bytes, {end - at} left")
            yield number, message[at : at + size]
            at += size

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise WeightsError(f"more than {MOST_FIELDS:,} fields: rejected")

    def varints(self, value: Value) -> list[int]:
        """Integers: one that stands by itself, or several packed into one field."""
        if isinstance(value, int):
            return [value]
        numbers, at = [], 0
        while at < len(value):
            self._count()
            number, at = _varint(value, at)
            numbers.append(number)
        return numbers


def text(value: Value) -> str:
    """A field of text."""
    if isinstance(value, int):
        raise WeightsError("damaged: a number stands where text should")
    try:
        return bytes(value).decode()
    except UnicodeDecodeError as error:
        raise WeightsError(f"damaged: a name is not text ({error})") from error


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if at == len(message):
            raise WeightsError("truncated within a number")
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise WeightsError("damaged: a number is longer than ten bytes")
