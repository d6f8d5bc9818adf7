"""MatConvNet's files, written by SciPy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from tinyfcn import weights
from tinyfcn.weights import mat

RNG = np.random.default_rng(0)
FILTERS = RNG.normal(size=(3, 2, 4, 5)).astype(np.float32)  # KH, KW, in, out
BIASES = RNG.normal(size=(1, 5)).astype(np.float32)
SINGLE = RNG.normal(size=(1, 1, 5)).astype(np.float32)  # one output: the last axis is dropped
MEAN = np.array([123.0, 116.0, 103.0], np.float32)


def cell(*values: Any) -> np.ndarray:
    array = np.empty((1, len(values)), object)
    for i, value in enumerate(values):
        array[0, i] = value
    return array


def layers() -> np.ndarray:
    return cell(
        {"type": "conv", "name": "conv1_1", "weights": cell(FILTERS, BIASES), "pad": 1.0},
        {"type": "relu", "name": "relu1_1"},
        {"type": "conv", "name": "fc", "weights": cell(SINGLE, np.float32([[2.0]]))},
    )


def write(path: Path, variables: dict[str, Any], compress: bool = True) -> Path:
    scipy.io.savemat(path, variables, appendmat=False, do_compression=compress)
    return path


def check(arrays: dict[str, np.ndarray]) -> None:
    for o in range(5):
        for i in range(4):
            np.testing.assert_array_equal(arrays["conv1_1.weight"][o, i], FILTERS[:, :, i, o])
    np.testing.assert_array_equal(arrays["conv1_1.bias"], BIASES[0])


@pytest.mark.parametrize("compress", [True, False])
def test_a_row_of_layers(tmp_path: Path, compress: bool) -> None:
    meta = {"normalization": {"averageImage": MEAN.reshape(1, 1, 3)}}
    path = write(tmp_path / "a.mat", {"layers": layers(), "meta": meta}, compress)
    file = weights.read(path)
    assert list(file.arrays) == ["conv1_1.weight", "conv1_1.bias", "fc.weight", "fc.bias"]
    check(file.arrays)
    assert file.arrays["fc.weight"].shape == (1, 5, 1, 1)
    assert file.preprocessing is not None
    assert file.preprocessing.channel_order == "RGB"
    assert file.preprocessing.scale == 1
    assert file.preprocessing.mean == (123, 116, 103)


def test_older_files(tmp_path: Path) -> None:
    old = cell({"name": "conv1_1", "filters": FILTERS, "biases": BIASES})
    image = np.broadcast_to(MEAN, (6, 7, 3))
    normalization = {"averageImage": image}
    path = write(tmp_path / "a", {"net": {"layers": old, "normalization": normalization}})
    file = weights.read(path)
    check(file.arrays)
    assert file.preprocessing is not None
    assert file.preprocessing.mean == pytest.approx((123, 116, 103))


def test_graphs(tmp_path: Path) -> None:
    for ends in (("_filter", "_bias"), ("f", "b")):
        params = np.empty((1, 2), [("name", object), ("value", object)])
        params[0, 0] = ("conv1_1" + ends[0], FILTERS)
        params[0, 1] = ("conv1_1" + ends[1], BIASES)
        check(weights.load(write(tmp_path / "a", {"params": params})))


def test_the_same_as_scipy(tmp_path: Path) -> None:
    values = {
        "double": RNG.normal(size=(3, 4)), "single": FILTERS, "byte": np.uint8([[1, 2, 3]]),
        "long": np.int64([[-5]]), "empty": np.zeros((0, 3)), "word": "letters", "flag": True,
        "whole": np.array([[3.0, 4.0]]),  # written as bytes
    }  # fmt: skip
    path = write(tmp_path / "a", values)
    ours, theirs = mat.read(path), scipy.io.loadmat(path)
    assert list(ours) == list(values)
    for name in values:
        if name == "word":
            assert ours[name] == "letters"
        else:
            np.testing.assert_array_equal(ours[name], theirs[name])


def test_what_is_no_network(tmp_path: Path) -> None:
    with pytest.raises(weights.WeightsError, match=r"no layers or params.*it holds x"):
        weights.load(write(tmp_path / "a", {"x": np.ones(3)}))
    (tmp_path / "a").write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64" + bytes(600))
    with pytest.raises(weights.WeightsError, match=r"HDF5.*'-v7'"):
        weights.load(tmp_path / "a")
    (tmp_path / "a").write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(weights.WeightsError, match="128 bytes"):
        weights.load(tmp_path / "a")


def test_sizes_are_integers(tmp_path: Path) -> None:
    path = write(tmp_path / "a", {"x": np.ones((2, 3))}, compress=False)
    data = bytearray(path.read_bytes())
    assert data[152:168] == np.array([5, 8, 2, 3], "<u4").tobytes()  # int32, 8 bytes, the shape
    data[152:168] = np.array([7, 8], "<u4").tobytes() + np.float32([np.nan, 3]).tobytes()
    path.write_bytes(data)
    with pytest.raises(weights.WeightsError, match="type 7 where numbers should be"):
        weights.load(path)


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = write(tmp_path / "a", {"x": np.zeros(9 << 20)})
    with pytest.raises(weights.WeightsError, match="absurdly many"):
        weights.load(path)


def test_damaged(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    many = {"layers": cell(*layers()[0], *({**layers()[0, 0], "name": f"c{i}"} for i in range(9)))}
    damage(write(tmp_path / "a.mat", many, compress=False))
    damage(write(tmp_path / "b.mat", many, compress=True))
