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
from tinyfcn.weights.images import CAFFE_VGG

Reject = Callable[[Path], None]

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


BESIDE = {
    "MultiStepLR's milestones": b"ccollections\nCounter\n}K\x1eK\x01s\x85R",
    "device": b"ctorch\ndevice\n" + text("cuda") + b"K\x00\x86R",
    "dtype": b"ctorch\nbfloat16\n",
    "size": b"ctorch\nSize\n" + numbers(2, 3) + b"\x85R",
    "layout": b"ctorch.serialization\n_get_layout\n" + text("torch.strided") + b"\x85R",
    "bytes": b"c_codecs\nencode\n" + text("a") + text("latin1") + b"\x86R",
    "set": b"c__builtin__\nset\n](K\x01K\x02e\x85R",
    "complex": b"cbuiltins\ncomplex\nG" + bytes(8) + b"G" + bytes(8) + b"\x86R",
    "number of NumPy": b"cnumpy._core.multiarray\nscalar\ncnumpy\ndtype\n" + text("f8") + b"\x85R"
    b"(K\x03" + text("<") + b"NNNtbc_codecs\nencode\n" + text("12345678") + b"\x85R\x86R",
    "other keys": b"}(NK\x01G" + bytes(8) + b"K\x02K\x01\x85K\x03\x8a\x0b" + b"\x7f" * 11 + b"Nu",
    "tensor without numbers": b"ctorch._utils\n_rebuild_meta_tensor_no_storage\n(ctorch\nint64\ntR",
    "sparse tensor": b"ctorch._utils\n_rebuild_sparse_tensor\n(NNtR",
    "quantized tensor": b"ctorch._utils\n_rebuild_qtensor\n(" + storage("1", 8, "QInt8") + b"tR",
    "complex tensor": tensor(storage("1", 1, "ComplexFloat"), 0, (1,), (1,)),
    "float8 tensor": b"ctorch._utils\n_rebuild_tensor_v3\n(ctorch\nfloat8_e5m2\ntR",
    "storage": storage("1", 2),
    "long history": b"](" + b"N" * 150_000 + b"e",
    "no number": b"G" + struct.pack(">d", np.nan),
}


@pytest.mark.parametrize("beside", BESIDE)
def test_what_lies_beside_the_weights_is_passed_over(tmp_path: Path, beside: str) -> None:
    own = storage("0", 24, view=b"N")
    tree = b"}(" + text("x") + BESIDE[beside].replace(b"tQ", b"NtQ") + text("w")
    tree += tensor(own, 0, (24,), (1,)) + b"u"
    used = {key: data for key, data in STORAGES.items() if key == "0" or b"1tQ" in tree}
    files = [write_zip(tmp_path / "a", tree)]
    if b"Storage" not in BESIDE[beside]:
        files.append(write_legacy(tmp_path / "b", tree, {"0": used["0"]}))
    for path in files:
        loaded = weights.load(path)
        assert list(loaded) == ["w"]
        np.testing.assert_array_equal(loaded["w"], WEIGHT.ravel())


W = tensor(storage("0", 24), 0, (24,), (1,))


@pytest.mark.parametrize(
    "wrapped",
    [
        b"ctorch._utils\n_rebuild_parameter\n(" + W + b"\x88" + ORDERED + b"tR",
        b"ctorch._utils\n_rebuild_parameter_with_state\n(" + W + b"\x88" + ORDERED + b"}tR",
        b"ctorch.nn.parameter\nParameter\n" + W + b"\x88\x86\x81",
        b"ctorch._tensor\n_rebuild_from_type_v2\n(cos.path\njoin\n".replace(
            b"cos.path\njoin\n", b"ctorch._utils\n_rebuild_parameter\n"
        )
        + b"ctorch\nTensor\n(" + W + b"\x88" + ORDERED + b"t}tR",
    ],
)  # fmt: skip
def test_parameters_and_tensors_with_attributes(tmp_path: Path, wrapped: bytes) -> None:
    pairs = b"ccollections\nOrderedDict\n](](" + text("w") + wrapped + b"ee\x85R"  # of Python 2
    loaded = weights.load(write_zip(tmp_path / "a", pairs))
    np.testing.assert_array_equal(loaded["w"], WEIGHT.ravel())


@pytest.mark.parametrize(
    ("shape", "strides", "values"),
    [
        ((2, 2), (0, 0), [[0, 0], [0, 0]]),
        ((2, 3), (0, 1), [[0, 1, 2], [0, 1, 2]]),
        ((3, 2), (1, 0), [[0, 0], [1, 1], [2, 2]]),
        ((23, 2), (1, 1), [[i, i + 1] for i in range(23)]),
    ],
)
def test_expanded_tensors(
    tmp_path: Path, shape: tuple[int, ...], strides: tuple[int, ...], values: list[list[int]]
) -> None:
    tree = b"}" + text("w") + tensor(storage("0", 24), 0, shape, strides) + b"s"
    assert weights.load(write_zip(tmp_path / "a", tree))["w"].tolist() == values


def test_not_a_number_is_refused_by_name(tmp_path: Path) -> None:
    files = [write_zip(tmp_path / "a", state(), {**STORAGES, "1": b"\x00\x00\xc0\x7f" * 2})]
    files.append(write_zip(tmp_path / "b", state(), {**STORAGES, "1": b"\x00\x00\x80\xff" * 2}))
    for path in files:
        with pytest.raises(weights.WeightsError, match=r"conv\.bias holds NaN, or numbers beyond"):
            weights.load(path)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module.model._orig_mod."])
def test_names_lose_what_wrappers_put_before_them(tmp_path: Path, prefix: str) -> None:
    tree = ORDERED + b"(" + text(f"{prefix}conv1_1.weight") + W + text(f"{prefix}b.bias") + W + b"u"
    file = weights.read(write_zip(tmp_path / "a", tree))
    assert list(file.arrays) == ["conv1_1.weight", "b.bias"]
    assert file.preprocessing == CAFFE_VGG


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        (b"cos\nsystem\n(" + text("touch executed") + b"tR", r"asks for os\.system"),
        (b"\x8c\x08builtins\x8c\x04eval\x93(" + text("1") + b"tR", r"asks for builtins\.eval"),
        (b"ctorchvision.models.resnet\nResNet\n)\x81", r"torchvision\.models\.resnet\.ResNet"),
        (b"(ios\nsystem\n", "instruction INST"),
        (b"ctorch\nFloatStorage\n)R", "damaged pickle"),
        (b"cbuiltins\n" + b"x" * 10_000 + b"\n)R", "asks for builtins"),
        (b"cargparse\nNamespace\n)\x81}b", r"argparse\.Namespace, .*nothing was executed"),
        (b"ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\ntR", r"asks for os\.system"),
        (b"ctorch.hub\nload\n(" + text("a/b") + b"tR", r"asks for torch\.hub\.load"),
        (b"ctorch\ndevice\n)R)R", "damaged pickle"),
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
    with pytest.raises(weights.WeightsError, match="it holds 0 dense tensors"):
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
        ((40_000, 40_000), (0, 0), 0),
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
    words = r"not lie within|damaged pickle|are not of|absurdly"
    with pytest.raises(weights.WeightsError, match=words):
        weights.load(write_zip(tmp_path / "a", tree))


ALIKE = range(0, 30_000 * (2**61 - 1), 2**61 - 1)  # all have the hash 0


@pytest.mark.parametrize(
    "tree",
    [
        b"N" + b"".join(b"p%d\n" % key for key in ALIKE),
        b"}(" + b"N".join(b"\x8a\x0a" + key.to_bytes(10, "little") for key in ALIKE) + b"Nu",
        b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu")
        + b"\x8b" + struct.pack("<i", 9999) + b"\x7f" * 9999 + b"tQ",
        b"ctorch._tensor\n_rebuild_from_type_v2\nq\x00" + b"(h\x00N" * 5000 + b")" + b"tR" * 5000,
        b"}(" + text("a") + b"NNNNNu",
    ],
)  # fmt: skip
def test_pickles_that_cost_time_or_memory(tmp_path: Path, reject: Reject, tree: bytes) -> None:
    for path in (write_zip(tmp_path / "a", tree), write_legacy(tmp_path / "b", tree)):
        reject(path)


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
