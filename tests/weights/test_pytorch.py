"""PyTorch's files, written here opcode by opcode."""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tinyfcn import weights
from tinyfcn.data import TORCHVISION

ORDERED = b"ccollections\nOrderedDict\n)R"
WEIGHT = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
BIAS = np.array([7.0, -1.0], np.float32)
STORAGES = {"0": WEIGHT.tobytes(), "1": BIAS.tobytes()}


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def numbers(*values: int) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def storage(key: str, count: int, kind: str = "Float", view: bytes = b"") -> bytes:
    name = f"ctorch\n{kind}Storage\n".encode()
    return b"(" + text("storage") + name + text(key) + text("cpu") + number(count) + view + b"tQ"


def tensor(source: bytes, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> bytes:
    where = number(offset) + numbers(*shape) + numbers(*strides)
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + source + where + b"\x89" + ORDERED + b"tR"


def state(view: bytes = b"", **more: bytes) -> bytes:
    entries = {
        "conv.weight": tensor(storage("0", 24, view=view), 0, (2, 3, 2, 2), (12, 4, 2, 1)),
        "conv.bias": tensor(storage("1", 2, view=view), 0, (2,), (1,)),
        **more,
    }
    return ORDERED + b"(" + b"".join(text(k) + v for k, v in entries.items()) + b"u"


def write_zip(
    path: Path, tree: bytes, storages: dict[str, bytes] = STORAGES, **more: bytes
) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", b"\x80\x02" + tree + b".")
        for key, data in storages.items():
            archive.writestr(f"model/data/{key}", data)
        archive.writestr("model/version", b"3\n")
        for name, data in more.items():
            archive.writestr(f"model/{name}", data)
    return path


def write_legacy(path: Path, tree: bytes, storages: dict[str, bytes] = STORAGES) -> Path:
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    head = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, system)]
    parts = [*head, b"\x80\x02" + tree + b".", pickle.dumps(list(storages), 2)]
    for data in storages.values():
        parts += [struct.pack("<q", len(data) // 4), data]
    path.write_bytes(b"".join(parts))
    return path


def both(tmp_path: Path) -> list[Path]:
    none = b"N"  # legacy storages say that they are no views
    return [write_zip(tmp_path / "a.pth", state()), write_legacy(tmp_path / "b.pth", state(none))]


def test_both_formats(tmp_path: Path) -> None:
    for path in both(tmp_path):
        file = weights.read(path)
        assert list(file.arrays) == ["conv.weight", "conv.bias"]
        np.testing.assert_array_equal(file.arrays["conv.weight"], WEIGHT)
        np.testing.assert_array_equal(file.arrays["conv.bias"], BIAS)
        assert file.arrays["conv.weight"].dtype == np.float32
        assert file.preprocessing == TORCHVISION


def test_views_share_their_storage(tmp_path: Path) -> None:
    whole = tensor(storage("0", 24), 0, (24,), (1,))
    turned = tensor(storage("0", 24), 6, (2, 3), (1, 2))
    loaded = weights.load(write_zip(tmp_path / "a", state(whole=whole, turned=turned)))
    np.testing.assert_array_equal(loaded["turned"], np.arange(6, 12).reshape(3, 2).T)
    assert np.shares_memory(loaded["turned"], loaded["whole"])


@pytest.mark.parametrize(
    ("kind", "data", "values"),
    [
        ("Half", np.array([1, -2], "<f2").tobytes(), [1, -2]),
        ("Double", np.array([1, -2], "<f8").tobytes(), [1, -2]),
        ("Long", np.array([1, -2], "<i8").tobytes(), [1, -2]),
        ("BFloat16", b"\x80\x3f\x00\xc0", [1, -2]),  # the upper halves of 0x3f800000, 0xc0000000
        ("Bool", b"\x01\x00", [1, 0]),
    ],
)
def test_types(tmp_path: Path, kind: str, data: bytes, values: list[int]) -> None:
    one = b"}" + text("w") + tensor(storage("0", 2, kind), 0, (2,), (1,)) + b"s"
    loaded = weights.load(write_zip(tmp_path / "a", one, {"0": data}))
    assert loaded["w"].astype(float).tolist() == values


def test_big_endian(tmp_path: Path) -> None:
    storages = {"0": WEIGHT.astype(">f4").tobytes(), "1": BIAS.astype(">f4").tobytes()}
    path = write_zip(tmp_path / "a", state(), storages, byteorder=b"big")
    np.testing.assert_array_equal(weights.load(path)["conv.weight"], WEIGHT)


def test_the_weights_in_a_training_checkpoint(tmp_path: Path) -> None:
    inner = ORDERED + b"(" + text("module.w") + tensor(storage("1", 2), 0, (2,), (1,)) + b"u"
    tree = b"}(" + text("epoch") + number(3) + text("state_dict") + inner + b"u"
    assert list(weights.load(write_zip(tmp_path / "a", tree))) == ["w"]


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        (b"cos\nsystem\n(" + text("touch executed") + b"tR", r"asks for os\.system"),
        (b"\x8c\x08builtins\x8c\x04eval\x93(" + text("1") + b"tR", r"asks for builtins\.eval"),
        (b"ctorchvision.models.resnet\nResNet\n)\x81", r"torchvision\.models\.resnet\.ResNet"),
        (b"(ios\nsystem\n", "instruction INST"),
        (b"ctorch\nFloatStorage\n)R", "damaged pickle"),
        (b"cbuiltins\n" + b"x" * 10_000 + b"\n)R", "asks for builtins"),
    ],
)
def test_nothing_is_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tree: bytes, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (write_zip(tmp_path / "a", tree), write_legacy(tmp_path / "b", tree)):
        with pytest.raises(weights.WeightsError, match=words) as caught:
            weights.load(path)
        assert len(str(caught.value)) < 1000
    assert not (tmp_path / "executed").exists()


def test_a_far_memo_costs_no_memory(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a", state() + b"r\xfe\xff\xff\xff")
    assert len(weights.load(path)) == 2


def test_tuples_in_tuples_are_not_hashed(tmp_path: Path) -> None:
    """Their hash would end Python, since it asks for that of the inner one on the same stack."""
    deep = b")" + b"\x85" * 150_000
    for identifier in (
        text("storage") + deep + text("0") + text("cpu") + number(24),
        text("storage") + b"ctorch\nFloatStorage\n" + deep + text("cpu") + number(24),
    ):
        with pytest.raises(weights.WeightsError, match="identifier is not a storage"):
            weights.load(write_zip(tmp_path / "a", b"(" + identifier + b"tQ"))
    with pytest.raises(weights.WeightsError, match="key is a tuple"):
        weights.load(write_zip(tmp_path / "a", b"}" + deep + b"Ns"))


def test_a_zip_of_something_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        archive.writestr("photo.jpg", b"")
    with pytest.raises(weights.WeightsError, match=r"neither NumPy nor PyTorch.*photo\.jpg"):
        weights.load(tmp_path / "a")


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((5, 5), (5, 1), 0),
        ((2, 12), (12, 1), 1),
        ((4000, 4000), (0, 0), 0),
        ((2, 3), (-3, 1), 20),
        ((2, 3), (3,), 0),
        ((2147483647, 2147483647), (1, 1), 0),
        ((2147483647, 2147483647, 2147483647, 0), (1, 1, 1, 1), 0),
    ],
)
def test_tensors_stay_within_their_storage(
    tmp_path: Path, shape: tuple[int, ...], strides: tuple[int, ...], offset: int
) -> None:
    tree = b"}" + text("w") + tensor(storage("0", 24), offset, shape, strides) + b"s"
    with pytest.raises(weights.WeightsError, match=r"not lie within|damaged pickle|are not of"):
        weights.load(write_zip(tmp_path / "a", tree))


def test_containers_without_end(tmp_path: Path) -> None:
    itself = b"}q\x00" + text("a") + b"h\x00s"
    doubling = b"}q\x00" + b"".join(
        b"}("
        + text("a")
        + b"h"
        + bytes([i])
        + text("b")
        + b"h"
        + bytes([i])
        + b"uq"
        + bytes([i + 1])
        for i in range(40)
    )
    wide = b"](" + b"N" * 2_000_001 + b"e"
    for tree, words in ((itself, "without end"), (doubling, "without end"), (wide, "instructions")):
        with pytest.raises(weights.WeightsError, match=words):
            weights.load(write_zip(tmp_path / "a", tree))


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data.pkl", b"\x80\x02" + state() + b".")
        archive.writestr("model/data/0", bytes(80 << 20))
    with pytest.raises(weights.WeightsError, match="would unpack to"):
        weights.load(tmp_path / "a")


def test_missing_storage(tmp_path: Path) -> None:
    with pytest.raises(weights.WeightsError, match=r"storage '1': 0 numbers are not of shape"):
        weights.load(write_zip(tmp_path / "a", state(), {"0": STORAGES["0"]}))


def test_damaged(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    for path in both(tmp_path):
        damage(path)
