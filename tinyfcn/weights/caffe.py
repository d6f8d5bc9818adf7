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
    net = reader.message(memoryview(path.read_bytes()))
    arrays: dict[str, NDArray[Any]] = {}
    for layers, name_field, blobs_field in ((2, 4, 6), (100, 1, 7)):
        for layer in map(reader.message, net[layers]):
            name = wire.text(layer[name_field])
            for index, blob in enumerate(layer[blobs_field]):
                full = f"{name}.{PARTS[index] if index < len(PARTS) else index}"
                if full in arrays:
                    raise WeightsError(f"two layers are called {name!r}")
                arrays[full] = _blob(reader, blob, full[:100])
    if not arrays:
        raise WeightsError("a network without weights (a .prototxt's, or of before 2014)")
    return WeightFile(arrays, images.caffe(arrays))


def _blob(reader: wire.Reader, blob: wire.Value, name: str) -> NDArray[Any]:
    fields = reader.message(blob)
    if fields[7]:
        shape = reader.integers(reader.message(fields[7][-1])[1])
    else:
        shape = [[1, *reader.integers(fields[number])][-1] for number in (1, 2, 3, 4)]
        # Fully connected layers were (1, 1, out, in), and biases (1, 1, 1, out).
        if shape[:2] == [1, 1]:
            shape = shape[3:] if shape[2] == 1 else shape[2:]
    pieces = [
        numbers(name, wire.content(value), np.dtype(dtype))
        for number, dtype in ((5, "<f4"), (8, "<f8"))
        for value in fields[number]
    ]
    flat = np.concatenate([np.zeros(0), *pieces], dtype=np.float32)
    return shaped(name, flat, tuple(shape))
