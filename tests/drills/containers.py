"""Files that hold parts under checksums, taken apart and put together again.

Zip archives, PNGs, and the JSON trees in checkpoints and safetensors files.
"""

from __future__ import annotations

import contextlib
import io
import json
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Parts = list[tuple[str, bytes]]  # of any names, also twice the same
_PNG = b"\x89PNG\r\n\x1a\n"


def apart(data: bytes) -> tuple[Parts, Callable[[Parts], bytes]] | None:
    """The members of a zip archive or the chunks of a PNG, and what makes a file of such parts,
    with lengths and CRCs that are right; None for other files."""
    if data.startswith(b"PK\3\4"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return [(name, archive.read(name)) for name in archive.namelist()], _zip
    if data.startswith(_PNG):
        return list(_chunks(data)), png
    return None


def _zip(parts: Parts) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two of one name are meant
        with zipfile.ZipFile(file, "w") as archive:
            for name, data in parts:
                archive.writestr(name or "no name", data)
    return file.getvalue()


def _chunks(data: bytes) -> Iterator[tuple[str, bytes]]:
    place = len(_PNG)
    while place < len(data):
        (size,) = struct.unpack_from(">I", data, place)
        yield data[place + 4 : place + 8].decode(), data[place + 8 : place + 8 + size]
        place += 12 + size


def png(parts: Parts) -> bytes:
    """A PNG of chunks."""
    out = _PNG
    for name, data in parts:
        chunk = name.encode("utf-8", "replace").ljust(4)[:4] + data
        out += struct.pack(">I", len(data)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return out


def json_of(data: bytes) -> tuple[Any, Callable[[Any], bytes]] | None:
    """The tree in a checkpoint.json.npy or at the head of a safetensors file, and what writes the
    file again with another tree; None if there is none."""
    size = int.from_bytes(data[:8], "little")
    with contextlib.suppress(Exception):  # mutated before
        if data.startswith(b"\x93NUMPY"):
            return json.loads(str(np.load(io.BytesIO(data)))), _npy_of
        return json.loads(data[8 : 8 + size]), lambda tree: _head_of(tree) + data[8 + size :]
    return None


def _npy_of(tree: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array(json.dumps(tree)))
    return file.getvalue()


def _head_of(tree: Any) -> bytes:
    text = json.dumps(tree).encode()
    return len(text).to_bytes(8, "little") + text
