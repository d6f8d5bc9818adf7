"""Reads members of zip files, each only after its size has been checked."""

from __future__ import annotations

import contextlib
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from tinyfcn.weights.file import WeightsError, allowance

MAGIC = b"PK\x03\x04"
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# What zipfile raises for damaged archives, found by damaging many.
_DAMAGE = (
    EOFError, IndexError, KeyError, NotImplementedError, OSError, OverflowError, RuntimeError,
    ValueError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def names(path: Path, start: bytes) -> list[str]:
    """The names of the members; if the list at the end is damaged, that of the first one.

    There are none if the file does not begin (``start``) as a zip does.
    """
    if not start.startswith(MAGIC):
        return []
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except _DAMAGE:
        with open(path, "rb") as file:
            header = file.read(512)
        return [header[30 : 30 + int.from_bytes(header[26:28], "little")].decode("latin1")]


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Zip]:
    """The archive of a file.

    Raises:
        WeightsError: if it is truncated, damaged, encrypted, or unpacks to absurdly much.
    """
    try:
        archive = zipfile.ZipFile(path)
    except _DAMAGE as error:
        raise WeightsError(f"truncated or damaged zip archive ({error})") from error
    with archive:
        yield Zip(archive, path)


class Zip:
    """Reads members whole, each checked against its CRC; ``names`` are in the archive's order."""

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self._archive = archive
        self.names = archive.namelist()
        if len({*self.names}) != len(self.names):
            raise WeightsError("two members of the zip archive have the same name")
        total = sum(member.file_size for member in archive.infolist())
        packed = sum(member.compress_size for member in archive.infolist())
        if total > allowance(path):
            raise WeightsError(f"would unpack to {total:,} bytes, too many for its size: rejected")
        if packed > path.stat().st_size:
            raise WeightsError(f"truncated: {packed:,} bytes of members, more than the file has")

    def read(self, name: str) -> bytes:
        """One member."""
        member = self._archive.getinfo(name)
        if member.compress_type not in _METHODS:
            raise WeightsError(f"{name} is compressed by method {member.compress_type}, not known")
        try:
            data = self._archive.read(member)
        except _DAMAGE as error:
            raise WeightsError(f"{name} is damaged ({error})") from error
        if len(data) != member.file_size:
            raise WeightsError(f"{name} holds {len(data)} bytes instead of {member.file_size}")
        return data
