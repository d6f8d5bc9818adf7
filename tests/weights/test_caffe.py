"""caffemodels, written field by field."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tinyfcn import weights
from tinyfcn.data import CAFFE
from tinyfcn.weights.images import CAFFE_GOOGLENET, CAFFE_SEGNET, CAFFE_VGG

WEIGHT = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
BIAS = np.array([7.0, -1.0], np.float32)


def varint(number: int) -> bytes:
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def blob(array: NDArray[np.float32], packed_shape: bool = True) -> bytes:
    if packed_shape:
        shape = field(1, b"".join(map(varint, array.shape)))
    else:
        shape = b"".join(field(1, n) for n in array.shape)
    return field(7, shape) + field(5, array.astype("<f4").tobytes())


def old_blob(array: NDArray[np.float32]) -> bytes:
    dims = (1,) * (4 - array.ndim) + array.shape
    numbers = b"".join(field(i + 1, n) for i, n in enumerate(dims))
    return numbers + field(5, array.astype("<f4").tobytes()) + field(6, b"")


def layer(name: str, *blobs: bytes) -> bytes:
    """A LayerParameter, with a type, a bottom and a convolution_param to be passed over."""
    about = field(2, b"Convolution") + field(3, b"data") + field(106, field(1, 2) + b"\x1d\0\0\0\0")
    return field(100, field(1, name.encode()) + about + b"".join(field(7, b) for b in blobs))


def old_layer(name: str, *blobs: bytes) -> bytes:
    """A V1LayerParameter."""
    about = field(2, b"data") + field(5, 4) + field(4, name.encode())
    return field(2, about + b"".join(field(6, b) for b in blobs))


def write(path: Path, *layers: bytes) -> Path:
    path.write_bytes(field(1, b"a network") + b"".join(layers))
    return path


def test_current_layers(tmp_path: Path) -> None:
    file = weights.read(
        write(tmp_path / "a", layer("relu"), layer("c", blob(WEIGHT), blob(BIAS, False)))
    )
    assert list(file.arrays) == ["c.weight", "c.bias"]
    np.testing.assert_array_equal(file.arrays["c.weight"], WEIGHT)
    np.testing.assert_array_equal(file.arrays["c.bias"], BIAS)


def test_v1_layers(tmp_path: Path) -> None:
    linear = np.arange(12, dtype=np.float32).reshape(3, 4)
    path = write(
        tmp_path / "a",
        old_layer("c", old_blob(WEIGHT), old_blob(BIAS)),
        old_layer("fc", old_blob(linear)),
    )
    loaded = weights.load(path)
    np.testing.assert_array_equal(loaded["c.weight"], WEIGHT)
    np.testing.assert_array_equal(loaded["c.bias"], BIAS)
    np.testing.assert_array_equal(loaded["fc.weight"], linear)


def test_doubles_and_more_blobs(tmp_path: Path) -> None:
    doubles = field(7, field(1, varint(2))) + field(8, BIAS.astype("<f8").tobytes())
    loaded = weights.load(write(tmp_path / "a", layer("bn", doubles, blob(BIAS), blob(BIAS[:1]))))
    assert list(loaded) == ["bn.weight", "bn.bias", "bn.2"]
    np.testing.assert_array_equal(loaded["bn.weight"], BIAS)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("conv1_1", "fc8"), CAFFE_VGG),
        (("conv1_1", "score_fr"), CAFFE),
        (("conv1", "fc8"), CAFFE),
        (("conv1/7x7_s2", "inception_3a/1x1"), CAFFE_GOOGLENET),
        (("conv1_1", "conv1_2_D"), CAFFE_SEGNET),
    ],
)
def test_the_names_tell_the_mean(tmp_path: Path, names: tuple[str, ...], expected: object) -> None:
    path = write(tmp_path / "a", *(layer(name, blob(BIAS)) for name in names))
    assert weights.read(path).preprocessing == expected


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        (
            layer("c", field(7, field(1, varint(3))) + field(5, bytes(8))),
            r"2 numbers.*shape \(3,\)",
        ),
        (layer("c", field(7, field(1, varint(1 << 60)) * 40) + field(5, b"")), "0 numbers are not"),
        (layer("c", field(7, field(1, varint(1 << 62) + b"\0")) + field(5, b"")), "0 numbers are"),
        (layer("c", field(5, bytes(7))), "7 bytes are not"),
        (layer("c", blob(BIAS)) * 2, "two layers are called 'c'"),
        (layer("c"), "without weights"),
        (layer("a") + field(100, 7), "a number stands where a message should"),
        (layer("c", blob(BIAS))[:-1], "truncated"),
        (varint(100 << 3 | 2) + varint(1 << 62), "truncated: field 100"),
        (varint(100 << 3 | 2) + b"\xff" * 11, "longer than ten bytes"),
        (layer("a") + b"\xa3\x06", "kind 3"),
        (field(100, field(1, b"\xff\xfe") + field(7, blob(BIAS))), "not text"),
        (field(5, 0) * 1_000_001, "fields: rejected"),
    ],
)
def test_networks_that_lie(tmp_path: Path, layers: bytes, words: str) -> None:
    with pytest.raises(weights.WeightsError, match=words):
        weights.load(write(tmp_path / "a", layers))


def test_text_is_no_network(tmp_path: Path) -> None:
    for start in (b"\ngreat news " + b"x" * 200, b"\n", b"\n\x02ab\n"):
        (tmp_path / "a").write_bytes(start)
        with pytest.raises(weights.WeightsError, match="not a format"):
            weights.load(tmp_path / "a")


def test_damaged(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    blobs = [np.full((4, 2, 3, 3), 0.5, np.float32), np.ones(4, np.float32)]
    many = [layer(f"conv{i}", *map(blob, blobs)) for i in range(4)]
    damage(write(tmp_path / "a.caffemodel", *many))
    old = [old_layer(f"conv{i}", *map(old_blob, blobs)) for i in range(4)]
    damage(write(tmp_path / "b.caffemodel", *old))


# The fields of the reader's docstring, for protobuf's own writer: message, {name: (number, kind)}.
# Kinds are those of descriptor.proto: 2 float, 1 double, 3 int64, 5 int32, 9 string, or a message.
FIELDS: dict[str, dict[str, tuple[int, int | str]]] = {
    "BlobShape": {"dim": (1, 3)},
    "BlobProto": {
        "num": (1, 5), "channels": (2, 5), "height": (3, 5), "width": (4, 5),
        "data": (5, 2), "double_data": (8, 1), "shape": (7, "BlobShape"),
    },
    "V1LayerParameter": {"name": (4, 9), "blobs": (6, "BlobProto")},
    "LayerParameter": {"name": (1, 9), "blobs": (7, "BlobProto")},
    "NetParameter": {
        "name": (1, 9), "layers": (2, "V1LayerParameter"), "layer": (100, "LayerParameter"),
    },
}  # fmt: skip
REPEATED = ("dim", "data", "double_data", "blobs", "layers", "layer")


def messages() -> Any:
    """A class for each message, made by protobuf, with numbers packed as caffe.proto has them."""
    pytest.importorskip("google.protobuf")
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    for name, fields in FIELDS.items():
        message = file.message_type.add(name=name)
        for field_name, (number, kind) in fields.items():
            one = message.field.add(name=field_name, number=number)
            one.label = 3 if field_name in REPEATED else 1
            one.type = 11 if isinstance(kind, str) else kind
            if isinstance(kind, str):
                one.type_name = f".caffe.{kind}"
            one.options.packed = field_name in ("dim", "data", "double_data")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClassesForFiles(["caffe.proto"], pool)


def test_what_protobuf_writes(tmp_path: Path) -> None:
    net = messages()["caffe.NetParameter"](name="a network of both kinds")
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(300, 2, 3, 1)).astype(np.float32), rng.normal(size=300)
    layer = net.layer.add(name="conv/3x3")
    blob = layer.blobs.add(data=weight.ravel())
    blob.shape.dim.extend(weight.shape)
    layer.blobs.add(double_data=bias).shape.dim.append(300)
    linear = rng.normal(size=(7, 5)).astype(np.float32)
    old = net.layers.add(name="fc")
    old.blobs.add(num=1, channels=1, height=7, width=5, data=linear.ravel())
    old.blobs.add(num=1, channels=1, height=1, width=7, data=linear[:, 0])
    net.layer.add(name="relu")
    (tmp_path / "a").write_bytes(net.SerializeToString())

    loaded = weights.load(tmp_path / "a")
    assert set(loaded) == {"conv/3x3.weight", "conv/3x3.bias", "fc.weight", "fc.bias"}
    np.testing.assert_array_equal(loaded["conv/3x3.weight"], weight)
    np.testing.assert_array_equal(loaded["conv/3x3.bias"], bias.astype(np.float32))
    np.testing.assert_array_equal(loaded["fc.weight"], linear)
    np.testing.assert_array_equal(loaded["fc.bias"], linear[:, 0])


def test_the_files_of_these_tests_are_what_protobuf_reads(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a",
        layer("c", blob(WEIGHT), blob(BIAS, False)),
        old_layer("fc", old_blob(WEIGHT)),
    )
    net = messages()["caffe.NetParameter"].FromString(path.read_bytes())
    assert net.name == "a network"
    assert [one.name for one in (*net.layer, *net.layers)] == ["c", "fc"]
    for one in (net.layer[0].blobs[0], net.layers[0].blobs[0]):
        np.testing.assert_array_equal(one.data, WEIGHT.ravel())
    assert [*net.layer[0].blobs[0].shape.dim] == [2, 3, 2, 2]
    assert [*net.layer[0].blobs[1].shape.dim] == [2]
    assert net.layers[0].blobs[0].width == 2
