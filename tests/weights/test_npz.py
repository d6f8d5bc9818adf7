"""Reading plain .npz files, and recognising a format by content."""

from __future__ import annotations

import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tinyfcn import weights
from tinyfcn.data import CAFFE
from tinyfcn.training import checkpoint
from tinyfcn.weights import safetensors


def test_the_name_of_the_file_does_not_matter(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{"conv.weight": np.ones((2, 3)), "conv.bias": np.zeros(2)})
    (tmp_path / "a.npz").rename(tmp_path / "a.bin")
    loaded = weights.load(tmp_path / "a.bin")
    assert list(loaded) == ["conv.weight", "conv.bias"]
    assert loaded["conv.weight"].tolist() == np.ones((2, 3)).tolist()


def test_compressed(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", w=np.arange(1000))
    assert weights.load(tmp_path / "a.npz")["w"].sum() == 499500


def test_unknown_and_missing_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("some text that is long enough")
    with pytest.raises(ValueError, match=r"a\.txt: not a format.*npz.*some text"):
        weights.load(tmp_path / "a.txt")
    with pytest.raises(FileNotFoundError, match="no such file"):
        weights.load(tmp_path / "b")
    with pytest.raises(FileNotFoundError, match="folder"):
        weights.load(tmp_path)


def test_objects_are_rejected(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", w=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match=r"[Oo]bject"):
        weights.load(tmp_path / "a.npz")


def test_damaged(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    arrays = {"conv.weight": np.ones((2, 3), np.float32), "n": np.array(3)}
    np.savez(tmp_path / "a.npz", **arrays)
    damage(tmp_path / "a.npz")
    np.savez_compressed(tmp_path / "b.npz", **arrays)
    damage(tmp_path / "b.npz")
    checkpoint.save(tmp_path / "c.npz", {"model": arrays, "iteration": 7})
    damage(tmp_path / "c.npz")


def test_a_header_that_lies_takes_no_memory(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", w=np.zeros((1000, 10)))
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        member = archive.read("w.npy")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("w.npy", member.replace(b"1000, 10), }      ", b"1000, 10000000), }"))
    with pytest.raises(weights.WeightsError, match="10,000 numbers are not of shape"):
        weights.load(tmp_path / "b.npz")


def test_a_member_longer_than_the_file_takes_no_memory(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", w=np.zeros(1000))
    data = bytearray((tmp_path / "a.npz").read_bytes())
    place = data.index(b"PK\x01\x02") + 20  # the packed size, in the list at the end
    data[place : place + 4] = (1 << 30).to_bytes(4, "little")
    (tmp_path / "a.npz").write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(weights.WeightsError, match="1,073,741,824 bytes of members"):
            weights.load(tmp_path / "a.npz")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (True,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (%s,)}" % ("9" * 4000),
        "{'descr': '<f4', 'fortran_order': False, 'shape': (%s)}" % ("1," * 100),
        "{'descr': '<U1000000000', 'fortran_order': False, 'shape': ()}",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}",
        "{'descr': ('<f4', (1000000, 1000000)), 'fortran_order': False, 'shape': (1,)}",
        "(" * 3000,
        "",
    ],
)
def test_headers_that_lie(tmp_path: Path, reject: Callable[[Path], None], header: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        length = len(header).to_bytes(2, "little")
        archive.writestr("w.npy", b"\x93NUMPY\x01\x00" + length + header.encode() + bytes(24))
    reject(tmp_path / "a.npz")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_what_is_not_finite_is_refused_by_name(
    tmp_path: Path, value: float, caffemodel: Callable[[Path, dict[str, np.ndarray]], Path]
) -> None:
    arrays = {"a.weight": np.ones(3, np.float32), "b.weight": np.array([[1.0, value, 2.0]])}
    np.savez(tmp_path / "plain", **arrays)
    checkpoint.save(tmp_path / "checkpoint", {"model": arrays})
    (tmp_path / "st").write_bytes(b"".join(safetensors.dump(arrays)))
    with np.errstate(over="ignore"):
        caffemodel(tmp_path / "caffe", arrays)
    for name in ("plain.npz", "checkpoint", "st", "caffe"):
        with pytest.raises(weights.WeightsError, match=r"b\.weight holds NaN, or numbers beyond"):
            weights.load(tmp_path / name)


def test_archives_that_lie(tmp_path: Path, reject: Callable[..., None]) -> None:
    """A bomb; more members than any network; names that are a message by themselves."""
    np.savez_compressed(tmp_path / "a.npz", w=np.zeros(30 << 20))
    member = b"\x93NUMPY\x01\x00\x00\x00"
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        for number in range(20_001):
            archive.writestr(f"{number}.npy", member)
    with zipfile.ZipFile(tmp_path / "c.npz", "w") as archive:
        for number in range(80):
            archive.writestr(f"{number}".ljust(60_000, "n") + ".npy", member)
    reject(tmp_path / "a.npz", "would unpack to")
    reject(tmp_path / "b.npz", "more than 20,000 members")
    reject(tmp_path / "c.npz", "whose list of members has")


def test_a_checkpoint_brings_its_preprocessing(tmp_path: Path) -> None:
    about = {"model": "fcn8s", "preprocessing": CAFFE.to_dict()}
    state = {"model": {"w": np.ones(3)}, "optimizer": [np.ones(3)], "description": about}
    checkpoint.save(tmp_path / "a.npz", state)
    file = weights.read(tmp_path / "a.npz")
    assert list(file.arrays) == ["w"]
    assert file.preprocessing == CAFFE
