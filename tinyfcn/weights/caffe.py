"""Reads Caffe's ``.caffemodel``: a NetParameter message, whose layers hold blobs of numbers.

    NetParameter      name 1, layers 2 (V1LayerParameter, until 2014), layer 100 (LayerParameter)
    V1LayerParameter  name 4, blobs 6
    LayerParameter    name 1, blobs 7
    BlobProto         data 5, double_data 8, shape 7 {dim 1}; older: num 1, channels 2, height 3,
                      width 4

Source: BVLC/caffe, src/caffe/proto/caffe.proto.

Convolutions are (out, in / groups, KH, KW) and deconvolutions (in, out / groups, KH, KW), as here.
Inputs are BGR in 0..255, since that is what OpenCV reads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfcn.weights import images, wire
from tinyfcn.weights.file import MEBIBYTE, WeightFile, WeightsError, numbers, shaped

LARGEST = 2048 * MEBIBYTE  # protocol buffers cannot be larger
PARTS = ("weight", "bias")

# What may follow a network's name: layers, input, input_dim, input_shape, force_backward, layer.
_AFTER_NAME = b"\x12\x1a\x20\x28\x42\xa2"


def recognises(start: bytes) -> bool:
    """Whether the first fields are those of a network; the format has no mark of its own."""
    if start[:1] in (b"\x12", b"\x1a") or start[:2] == b"\xa2\x06":
        return True
    if start[:1] != b"\x0a" or len(start) < 2 or start[1] >= 0x80:
        return False
    name, after = start[2 : 2 + start[1]], start[2 + start[1] :][:1]
    return name.isascii() and name.decode().isprintable() and after in _AFTER_NAME


def read(path: Path) -> WeightFile:
    """``layer.weight`` and ``layer.bias``, the first two blobs of each layer; more are numbered.

    The preprocessing is what the layers' names tell, see :func:`tinyfcn.weights.images.caffe`.
    """
    size = path.stat().st_size
    if size > LARGEST:
        raise WeightsError(f"{size:,} bytes are more than a caffemodel can have")
    reader = wire.Reader()
    arrays: dict[str, NDArray[Any]] = {}
    for number, layer in reader.fields(memoryview(path.read_bytes())):
        if number not in (2, 100):
            continue
        name_field, blobs_field = (4, 6) if number == 2 else (1, 7)
        name, blobs = "", []
        for field, value in reader.fields(layer):
            if field == name_field:
                name = wire.text(value)
            elif field == blobs_field:
                blobs.append(value)
        for index, blob in enumerate(blobs):
            part = PARTS[index] if index < len(PARTS) else str(index)
            if f"{name}.{part}" in arrays:
                raise WeightsError(f"two layers are called {name!r}")
            arrays[f"{name}.{part}"] = _blob(reader, blob, f"{name[:100]}.{part}")
    if not arrays:
        raise WeightsError("a network without weights (a .prototxt's, or of before 2014)")
    return WeightFile(arrays, images.caffe(arrays))


def _blob(reader: wire.Reader, blob: wire.Value, name: str) -> NDArray[Any]:
    shape: tuple[int, ...] | None = None
    old = {1: 1, 2: 1, 3: 1, 4: 1}  # num, channels, height, width
    pieces: list[NDArray[np.float32]] = []
    for number, value in reader.fields(blob):
        if number in old and isinstance(value, int):
            old[number] = value
        elif number == 7:
            dims = (reader.varints(dim) for key, dim in reader.fields(value) if key == 1)
            shape = tuple(n for some in dims for n in some)
        elif number in (5, 8) and isinstance(value, memoryview):
            dtype = np.dtype("<f4" if number == 5 else "<f8")
            pieces.append(numbers(name, value, dtype).astype(np.float32))
    if shape is None:
        # Fully connected layers were (1, 1, out, in), and biases (1, 1, 1, out).
        shape = tuple(old.values())
        if shape[:2] == (1, 1):
            shape = shape[3:] if shape[2] == 1 else shape[2:]
    flat = pieces[0] if len(pieces) == 1 else np.concatenate([np.zeros(0, np.float32), *pieces])
    return shaped(name, flat, shape)
