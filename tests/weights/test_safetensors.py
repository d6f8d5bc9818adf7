"""safetensors files, written byte by byte, and by our own writer."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinyfcn import weights
from tinyfcn.data import CAFFE, TORCHVISION
from tinyfcn.weights import safetensors

WEIGHT = np.arange(6, dtype="<f4").reshape(2, 3)
HEADER = {
    "w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "n": {"dtype": "I64", "shape": [], "data_offsets": [24, 32]},
    "b": {"dtype": "BF16", "shape": [2], "data_offsets": [32, 36]},
}
DATA = WEIGHT.tobytes() + struct.pack("<q", -5) + b"\x80\x3f\x00\xc0"


def write(path: Path, header: Any = HEADER, data: bytes = DATA) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def test_arrays(tmp_path: Path) -> None:
    file = weights.read(write(tmp_path / "a.bin"))
    assert list(file.arrays) == ["w", "n", "b"]
    np.testing.assert_array_equal(file.arrays["w"], WEIGHT)
    assert file.arrays["n"].item() == -5
    assert file.arrays["b"].tolist() == [1.0, -2.0]
    assert file.preprocessing == TORCHVISION


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    arrays = {
        "a.weight": np.arange(24, dtype=">f4").reshape(2, 3, 4).transpose(2, 0, 1),
        "count": np.array(3, np.int64),
        "empty": np.zeros((0, 3), np.float16),
        "mask": np.array([True, False]),
    }
    about = {"model": "fcn8s", "classes": ["a"], "arguments": {}, "preprocessing": CAFFE.to_dict()}
    path = tmp_path / "a"
    path.write_bytes(b"".join(safetensors.dump(arrays, None, about)))
    file = weights.read(path)
    assert list(file.arrays) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(file.arrays[name], array)
    assert file.preprocessing == CAFFE
    assert file.description is not None
    assert file.description["model"] == "fcn8s"
    assert int.from_bytes(path.read_bytes()[:8], "little") % 8 == 0  # the data is aligned


def test_preprocessing_is_written_too(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"".join(safetensors.dump({"w": WEIGHT}, CAFFE)))
    file = weights.read(tmp_path / "a")
    assert file.preprocessing == CAFFE
    assert file.description is None


def test_what_cannot_be_written() -> None:
    with pytest.raises(weights.WeightsError, match="w is complex64"):
        safetensors.dump({"w": np.zeros(2, np.complex64)})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dtype": "F8_E4M3"}, "F8_E4M3"),
        ({"shape": [2, 4]}, "6 numbers are not of shape"),
        ({"shape": [2, -3]}, "has shape"),
        ({"shape": [1 << 40, 1 << 40]}, "6 numbers are not"),
        ({"shape": [True, 6]}, "has shape"),
        ({"data_offsets": [4, 28]}, "do not fill"),
        ({"data_offsets": [0, 1 << 50]}, "do not fill"),
        ({"data_offsets": [0]}, "w is"),
    ],
)
def test_headers_that_lie(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    header = {**HEADER, "w": {**HEADER["w"], **change}}
    with pytest.raises(weights.WeightsError, match=words):
        weights.load(write(tmp_path / "a", header))


def test_sizes_that_lie(tmp_path: Path) -> None:
    for header, data, words in (
        (HEADER, DATA[:-1], "truncated or too long"),
        (HEADER, DATA + b"x", "truncated or too long"),
        ({"w": {"dtype": "F32", "shape": [1 << 61, 0], "data_offsets": [0, 0]}}, b"", "w: 0 num"),
        (b'{"w": 1, "w": 2}', b"", "twice"),
        (b"{" + b'"a":{' * 50_000, b"", "damaged header"),
        ({"__metadata__": {"tinyfcn": "{}"}}, b"", "damaged description"),
    ):
        with pytest.raises(weights.WeightsError, match=words):
            weights.load(write(tmp_path / "a", header, data))
    (tmp_path / "a").write_bytes(struct.pack("<Q", 99 << 20) + b'{"a')
    with pytest.raises(weights.WeightsError, match="truncated"):
        weights.load(tmp_path / "a")


def test_values_without_end(tmp_path: Path, reject: Callable[..., None]) -> None:
    for value in (b"[],", b'{"a":[]},', b"0,"):
        header = b'{"w":[' + value * 400_000 + b"0]}"
        reject(write(tmp_path / "a", header), "absurdly many values")


@pytest.mark.parametrize(
    "header",
    [
        b'{"w":[' + b"[" * 50_000,
        b'{"w": ' + b"9" * 5000 + b"}",
        b'{"w": {"dtype": ["F32"], "shape": [6], "data_offsets": [0, 24]}}',
        b'{"w": {"dtype": "F32", "shape": "6", "data_offsets": [0, 24]}}',
        b'{"w": {"dtype": "F32", "shape": [6], "data_offsets": [false, 24.0]}}',
        b'{"w": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 24]}}',
        b'{"w": {"dtype": "F32", "shape": [6], "data_offsets": [24, 0]}}',
        b'{"__metadata__": [1]}',
        b'{"__metadata__": {"tinyfcn": 5}}',
        b'{"__metadata__": {"tinyfcn": "[1]"}}',
        b'{"__metadata__": {"tinyfcn.preprocessing": "{\\"mean\\": [1e999, 0, 0]}"}}',
        b'["w"]',
        b'{"\xff": 1}',
    ],
)
def test_headers_of_other_types(
    tmp_path: Path, reject: Callable[[Path], None], header: bytes
) -> None:
    reject(write(tmp_path / "a", header, bytes(24) if b"dtype" in header else b""))


def test_damaged(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    damage(write(tmp_path / "a.safetensors"))
