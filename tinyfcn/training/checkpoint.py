"""Checkpoints: one ``.npz`` file, no pickle.

A checkpoint is a tree of dicts, lists, numbers, strings and arrays (the ``state_dict()`` of
everything that changes while training). Its arrays become members of the ``.npz`` under the path
that leads to them (``model/conv1_1.weight``), so that ``numpy.load`` alone can read the weights;
the rest becomes one JSON text, the member ``checkpoint.json``, where an array is named by its path.

JSON has no tuples and no integer keys, both of which occur in the state of an optimizer, so these
are written as ``{"~tuple": [...]}`` and ``{"~dict": [[key, value], ...]}``. Python reads back the
very float it wrote, and a ``.npz`` carries a CRC of every member: a damaged file is noticed.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tinyfcn.files import atomic_write

FORMAT = "tinyfcn checkpoint"
VERSION = 1
JSON = "checkpoint.json"


class CheckpointError(Exception):
    """A checkpoint that cannot be written, read, or used for this model."""


def save(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write ``state`` to ``path``; the file that was there stays until the new one is whole.

    Args:
        path: where to; by convention it ends in ``.npz``.
        state: a dict of dicts, lists, tuples, arrays, numbers, strings, bools and None.

    Raises:
        CheckpointError: if the disk is full or the folder cannot be written; what was at ``path``
            before is untouched.
        TypeError: if the state holds anything else.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = Path(folder.name) / "last.npz"
        >>> save(path, {"model": {"weight": np.ones((2, 3), np.float32)}, "iteration": 7})
        >>> state = load(path)
        >>> state["iteration"], state["model"]["weight"].shape
        (7, (2, 3))
        >>> folder.cleanup()
    """
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    tree = {"format": FORMAT, "version": VERSION, "state": _encode(dict(state), "", arrays)}
    try:
        with atomic_write(path) as file:
            write_npz(file, {JSON: np.array(json.dumps(tree)), **arrays})
    except OSError as error:
        kept = "; the checkpoint that was there before is untouched" if Path(path).exists() else ""
        raise CheckpointError(
            f"could not save the checkpoint {path}: {error.strerror or error}{kept}"
        ) from error


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the state that :func:`save` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if the file is truncated, damaged or something else; says what was found.
    """
    path = Path(path)
    if not path.is_file():
        what = "there is no such file"
        if path.is_dir():
            what = f"this is a folder; expected a file, such as {path / 'last.npz'}"
        raise FileNotFoundError(f"checkpoint {path}: {what}")
    try:
        with open(path, "rb") as file:
            npz = np.load(file, allow_pickle=False)
            if not isinstance(npz, np.lib.npyio.NpzFile) or JSON not in npz.files:
                raise CheckpointError(f"{path} is not a tinyfcn checkpoint: {_found(path)}")
            return unpack(dict(npz), path)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise CheckpointError(f"cannot read the checkpoint {path}: {_found(path)}") from error


def unpack(arrays: Mapping[str, Any], path: str | os.PathLike[str]) -> dict[str, Any]:
    """The state in the members of a checkpoint.

    Raises:
        CheckpointError: if they are of another version.
        KeyError, ValueError: if they do not belong together.
    """
    tree = json.loads(str(arrays[JSON]))
    if tree.get("format") != FORMAT or tree.get("version") != VERSION:
        raise CheckpointError(
            f"{path}: expected a {FORMAT} of version {VERSION}, found "
            f"{tree.get('format')!r} of version {tree.get('version')!r}"
        )
    state: dict[str, Any] = _decode(tree["state"], arrays)
    return state


def write_npz(file: BinaryIO, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """What ``numpy.savez`` writes, except that it would pickle objects and reserves some names."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _encode(value: Any, path: str, arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    """The JSON form of ``value``; arrays are put into ``arrays`` on the way."""
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError(f"checkpoint: {path} is an array of objects, which cannot be saved")
        arrays[path] = value
        return {"~array": path}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        parts = {
            key: _encode(part, f"{path}/{key}" if path else str(key), arrays)
            for key, part in value.items()
        }
        if all(isinstance(key, str) and not key.startswith("~") for key in parts):
            return parts
        return {"~dict": [[key, part] for key, part in parts.items()]}
    if isinstance(value, list | tuple):
        items = [_encode(part, f"{path}/{index}", arrays) for index, part in enumerate(value)]
        return items if isinstance(value, list) else {"~tuple": items}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"checkpoint: {path} is a {type(value).__name__}, which cannot be saved")


def _decode(value: Any, arrays: Mapping[str, Any]) -> Any:
    """The inverse of :func:`_encode`."""
    if isinstance(value, list):
        return [_decode(part, arrays) for part in value]
    if not isinstance(value, dict):
        return value
    if "~array" in value:
        return arrays[value["~array"]]
    if "~tuple" in value:
        return tuple(_decode(part, arrays) for part in value["~tuple"])
    if "~dict" in value:
        return {key: _decode(part, arrays) for key, part in value["~dict"]}
    return {key: _decode(part, arrays) for key, part in value.items()}


def _found(path: Path) -> str:
    """What a file that should have been a checkpoint looks like, in words."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(8)
    if size == 0:
        return "the file is empty"
    if start[:4] == b"PK\x03\x04":
        if not zipfile.is_zipfile(path):
            return f"it is truncated ({size:,} bytes are there, the end is missing)"
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if f"{JSON}.npy" in names:
                return "it is damaged (the contents do not match their checksums)"
        listed = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        return f"it is a zip or .npz file that holds {listed or 'nothing'}"
    if start[:6] == b"\x93NUMPY":
        return "it is a single array (.npy)"
    return f"it starts with the bytes {start!r}"
