"""Damage done to a file of weights, and what must become of it."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tinyfcn import weights

VARIANTS = 200


def variants(whole: bytes) -> Iterator[bytes]:
    """The file cut short, with bytes changed, with what may be lengths made larger, with a gap."""
    rng = np.random.default_rng(0)
    for number in range(VARIANTS):
        data = bytearray(whole)
        # Half of the blows fall where the structure is, at the ends.
        places = len(data) if number % 8 < 4 else min(len(data), 400)
        at = int(rng.integers(places))
        if number % 3 == 0:
            at = len(data) - 1 - at
        if number % 4 == 0:
            del data[at:]
        elif number % 4 == 1:
            for place in {at, *rng.integers(len(data), size=rng.integers(4)).tolist()}:
                data[place] ^= int(rng.integers(1, 256))
        elif number % 4 == 2:
            count = int(rng.choice([1, 2, 3, 4, 8]))
            data[at : at + count] = rng.choice([b"\xff", b"\x7f"]) * count
        else:
            del data[at : at + int(rng.integers(1, 9))]
        yield bytes(data)


@pytest.fixture
def damage(tmp_path: Path) -> Callable[[Path], None]:
    """Load 200 damaged variants of a file: each is rejected in our words, or gives whole arrays
    (numbers without a checksum may be other numbers); quickly, and in little memory."""

    def check(path: Path) -> None:
        whole = path.read_bytes()
        assert len(whole) < 100_000
        count = len(weights.load(path))
        target = tmp_path / f"damaged{path.suffix}"
        rejected = 0
        tracemalloc.start()
        start = time.monotonic()
        try:
            for data in variants(whole):
                target.write_bytes(data)
                try:
                    arrays = weights.load(target)
                except weights.WeightsError as error:
                    assert str(target) in str(error)
                    rejected += 1
                    continue
                assert len(arrays) <= count
                for array in arrays.values():
                    assert isinstance(array, np.ndarray)
                    assert array.dtype.kind in "fiub"
                    array.copy()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert rejected > VARIANTS // 4
        assert peak < 70 << 20
        assert time.monotonic() - start < 20

    return check


@pytest.fixture
def reject() -> Callable[..., None]:
    """A file is rejected in our words, within 5 seconds and its size and 200 MB of memory."""

    def check(path: Path, words: str | None = None) -> None:
        tracemalloc.start()
        start = time.process_time()
        try:
            with pytest.raises(weights.WeightsError, match=words) as caught:
                weights.load(path)
            assert tracemalloc.get_traced_memory()[1] < path.stat().st_size + (200 << 20)
        finally:
            tracemalloc.stop()
        assert time.process_time() - start < 5
        assert len(str(caught.value)) < 1000

    return check


def _field(number: int, value: bytes) -> bytes:
    def varint(n: int) -> bytes:
        return bytes([n & 127 | 128]) + varint(n >> 7) if n > 127 else bytes([n])

    return varint(number << 3 | 2) + varint(len(value)) + value


@pytest.fixture
def caffemodel() -> Callable[[Path, dict[str, np.ndarray]], Path]:
    """Write arrays called layer.weight and layer.bias as layers with blobs of float32."""

    def write(path: Path, arrays: dict[str, np.ndarray]) -> Path:
        blobs: dict[str, bytes] = {}
        for name, array in arrays.items():
            dims = np.array(array.shape)
            shape = b"".join(bytes([n % 128 | 128, n // 128]) for n in dims)
            blob = _field(7, _field(1, shape)) + _field(5, array.astype("<f4").tobytes())
            layer = name.rpartition(".")[0]
            blobs[layer] = blobs.get(layer, b"") + _field(7, blob)
        layers = (_field(100, _field(1, name.encode()) + data) for name, data in blobs.items())
        path.write_bytes(b"".join(layers))
        return path

    return write
