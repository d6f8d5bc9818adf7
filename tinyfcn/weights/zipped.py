"""Reads zip files, after the sizes in their lists have been checked."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

from tinyfcn.weights.file import MEBIBYTE, WeightsError, allowance, reading

MAGIC = b"PK\x03\x04"
_MOST_MEMBERS = 20_000
# What else zipfile raises for damaged archives, found by damaging many.
_DAMAGE = EOFError, OSError, RuntimeError, struct.error, zipfile.BadZipFile, zlib.error


class _File(io.FileIO):
    """Gives no more at once than what a list of members, which is read in one go, may have."""

    def read(self, size: int | None = -1) -> Any:
        """Some bytes; WeightsError if they are too many."""
        if (size or 0) > 4 * MEBIBYTE:
            raise WeightsError(f"a zip archive whose list of members has {size:,} bytes: rejected")
        return super().read(size)


def first_name(start: bytes) -> str:
    """The name of the first member of a file that begins so; empty if it is no zip."""
    if not start.startswith(MAGIC):
        return ""
    return start[30 : 30 + int.from_bytes(start[26:28], "little")].decode("latin1")


def read(path: Path) -> dict[str, bytearray]:
    """The members by name, in the archive's order, each checked against its CRC.

    Raises:
        WeightsError: if it is truncated, damaged, encrypted, or unpacks to absurdly much.
    """
    with (
        reading("truncated or damaged zip archive", *_DAMAGE),
        _File(path) as file,
        zipfile.ZipFile(file) as archive,
    ):
        _check(archive.infolist(), path)
        return {name: _member(archive, name) for name in archive.namelist()}


def _member(archive: zipfile.ZipFile, name: str) -> bytearray:
    data = bytearray()
    with archive.open(name) as file:
        while piece := file.read(1 << 16):  # all at once would take the memory twice
            data += piece
    return data


def _check(members: list[zipfile.ZipInfo], path: Path) -> None:
    if len(members) > _MOST_MEMBERS:
        raise WeightsError(f"more than {_MOST_MEMBERS:,} members in the zip archive: rejected")
    if len({member.filename for member in members}) != len(members):
        raise WeightsError("two members of the zip archive have the same name")
    for member in members:
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise WeightsError(
                f"{member.filename} is compressed by method {member.compress_type}, not known"
            )
    total = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    if total > allowance(path) or packed > path.stat().st_size:
        raise WeightsError(
            f"{packed:,} bytes of members would unpack to {total:,}, too many for its size"
        )
