"""Reads and writes ``.safetensors``: the length of a header, the header in JSON, the numbers.

The format is simple enough to read and write in a screen each, with every error in our own words,
so the package of that name is not needed. Layout: 8 bytes, the header's length N in little endian;
N bytes of JSON, ``{"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}``, and
optionally ``"__metadata__"``, a dict of strings; then the data, which the offsets count from. The
arrays fill the data without gaps or overlaps.

Source: https://huggingface.co/docs/safetensors (format, section 1).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfcn.backend.half import from_bfloat16
from tinyfcn.data.preprocessing import Preprocessing
from tinyfcn.weights import images
from tinyfcn.weights.file import (
    MEBIBYTE,
    WeightFile,
    WeightsError,
    numbers,
    parse_json,
    preprocessing_of,
    reading,
    shaped,
)

DTYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4",
    "U64": "<u8", "I64": "<i8", "F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8",
}  # fmt: skip
LONGEST_HEADER = 100 * MEBIBYTE
# Keys of the metadata of our own files: the model, and how its images are prepared; JSON each.
DESCRIPTION, PREPROCESSING = "tinyfcn", "tinyfcn.preprocessing"


def recognises(start: bytes) -> bool:
    """Whether eight bytes of a length within the limit are followed by JSON."""
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= LONGEST_HEADER


def read(path: Path) -> WeightFile:
    """The arrays by name; bfloat16, which NumPy lacks, becomes float32.

    The preprocessing is that of a file of our own, else what the names tell, see
    :func:`tinyfcn.weights.images.pytorch`.
    """
    data = memoryview(path.read_bytes())
    end = 8 + int.from_bytes(data[:8], "little")
    header, data = _header(bytes(data[8:end])), data[end:]
    metadata = header.pop("__metadata__", None) or {}
    places = {name: _place(name, entry) for name, entry in header.items()}
    # Each begins where the one before it ends, and the last ends with the file.
    begins, ends = zip((0, 0), *sorted(place[2:] for place in places.values()), strict=True)
    if (*begins[1:], len(data)) != ends:
        raise WeightsError(f"truncated or too long: arrays do not fill the {len(data):,} bytes")
    arrays = {}
    for name, (kind, shape, begin, end) in places.items():
        flat = numbers(name, data[begin:end], np.dtype(DTYPES[kind]))
        arrays[name] = shaped(name, from_bfloat16(flat) if kind == "BF16" else flat, shape)
    preprocessing, about = _metadata(metadata)
    return WeightFile(arrays, preprocessing or images.pytorch(arrays), about)


def as_metadata(
    preprocessing: Preprocessing | None, description: Mapping[str, Any] | None
) -> dict[str, str]:
    """How images are prepared and which model a file is for, as strings for its metadata."""
    known = {PREPROCESSING: preprocessing and preprocessing.to_dict(), DESCRIPTION: description}
    return {key: json.dumps(value) for key, value in known.items() if value is not None}


def dump(
    arrays: Mapping[str, NDArray[Any]],
    preprocessing: Preprocessing | None = None,
    description: Mapping[str, Any] | None = None,
    **more: str,
) -> list[bytes]:
    """The file as pieces to be written one after the other.

    How images are prepared, which model it is (``ModelSpec.to_dict``) and ``more`` go into its
    metadata.

    Raises:
        WeightsError: if an array's dtype has no name in the format.
    """
    kinds = {np.dtype(code): kind for kind, code in DTYPES.items() if kind != "BF16"}
    # the format is what others expect to find
    header: dict[str, Any] = {
        "__metadata__": {"format": "pt", **more, **as_metadata(preprocessing, description)}
    }
    pieces, end = [], 0
    for name, array in arrays.items():
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        if little.dtype not in kinds:
            raise WeightsError(f"safetensors: {name} is {array.dtype}, which cannot be written")
        begin, end = end, end + little.nbytes
        header[name] = {
            "dtype": kinds[little.dtype], "shape": list(array.shape), "data_offsets": [begin, end],
        }  # fmt: skip
        pieces.append(little.tobytes())
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return [len(text).to_bytes(8, "little"), text, *pieces]


def _header(text: bytes) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a name comes twice")
        return dict(pairs)

    return parse_json(text, "header", object_pairs_hook=once) or {}


def _place(name: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    with reading(f"damaged header: {name} is {str(entry)[:80]}"):
        kind, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    if not isinstance(kind, str) or kind not in DTYPES:
        raise WeightsError(f"{name}: dtype {str(kind)[:20]!r} is not one of {', '.join(DTYPES)}")
    if not all(type(n) is int and 0 <= n < 1 << 62 for n in (*shape, begin, end)):
        raise WeightsError(f"damaged header: {name} has shape {str(shape)[:80]}")
    return kind, shape, begin, end


def _metadata(metadata: Any) -> tuple[Preprocessing | None, dict[str, Any] | None]:
    if not isinstance(metadata, dict):
        raise WeightsError("damaged description of the model")
    what = "description of the model"
    about, own = (
        parse_json(metadata.get(key, "null"), what) for key in (DESCRIPTION, PREPROCESSING)
    )
    if about is None and own is not None:
        return preprocessing_of({"preprocessing": own}), None
    return preprocessing_of(about), about
