"""PyTorch's ``.pth`` and ``.pt``: a pickle of tensors that share storages, and the storages.

Since version 1.6 a zip: ``data.pkl`` and, a member each, ``data/0``, ``data/1``, … Before, one
pickle after the other (a magic number, a version, facts about the machine, the object, the keys of
the storages), then for each storage its length in 8 bytes and its numbers. Nothing in the file is
executed, see :mod:`tinyfcn.weights.unpickle`.

Source: pytorch/pytorch, torch/serialization.py and torch/_utils.py.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tinyfcn.weights import images, zipped
from tinyfcn.weights.file import MEBIBYTE, WeightFile, WeightsError
from tinyfcn.weights.safetensors import bfloat16
from tinyfcn.weights.unpickle import Name, unpickle

Order = Literal["<", ">"]  # of the bytes of a number

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
DTYPES = {
    "FloatStorage": "f4", "DoubleStorage": "f8", "HalfStorage": "f2", "BFloat16Storage": "u2",
    "LongStorage": "i8", "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1",
    "ByteStorage": "u1", "BoolStorage": "?",
}  # fmt: skip
# Where training scripts keep the weights among other things.
WRAPPERS = ("state_dict", "model_state_dict", "model")

_LARGEST_PICKLE = 64 * MEBIBYTE
_DEEPEST, _MOST_ENTRIES, _LONGEST_NAME = 16, 100_000, 1000


@dataclass(frozen=True)
class _Storage:
    key: str
    kind: str
    count: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements


def recognises(path: Path, start: bytes) -> bool:
    """Whether the file is a pickle, or a zip with one."""
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return True
    if not start.startswith(zipped.MAGIC):
        return False
    names = zipped.names(path)
    if names is None:
        with open(path, "rb") as file:
            return b"data.pkl" in file.read(512)
    return any(name.rpartition("/")[2] == "data.pkl" for name in names)


def read(path: Path) -> WeightFile:
    """The tensors by name, nested names joined by dots; whatever is no tensor is left out.

    Of a training script's checkpoint only the part in ``WRAPPERS`` is kept, and the ``module.`` of
    a model that was trained on several devices is taken away. Tensors that shared a storage share
    memory here too. The preprocessing is what the names tell,
    see :func:`tinyfcn.weights.images.pytorch`.
    """
    with open(path, "rb") as file:
        is_zip = file.read(4) == zipped.MAGIC
    tree, storages, order = _read_zip(path) if is_zip else _read_legacy(path)
    for wrapper in WRAPPERS:
        if isinstance(tree, dict) and isinstance(tree.get(wrapper), dict):
            tree = tree[wrapper]
            break
    arrays: dict[str, NDArray[Any]] = {}
    typed: dict[str, tuple[str, NDArray[Any]]] = {}
    for name, tensor in _tensors(tree):
        storage = tensor.storage
        if storage.key not in typed:
            typed[storage.key] = (storage.kind, _numbers(storage, storages, order))
        kind, flat = typed[storage.key]
        if (kind, flat.size) != (storage.kind, storage.count):
            raise WeightsError(f"{name}: its storage {storage.key} has two types")
        arrays[name] = _view(name, tensor, flat)
    if not arrays:
        raise WeightsError("it holds no tensors")
    if all(name.startswith("module.") for name in arrays):
        arrays = {name.removeprefix("module."): array for name, array in arrays.items()}
    return WeightFile(arrays, images.pytorch(arrays))


def _read_zip(path: Path) -> tuple[Any, dict[str, bytes], Order]:
    with zipped.opened(path) as archive:
        pickle = next(name for name in archive.names if name.rpartition("/")[2] == "data.pkl")
        folder = pickle.removesuffix("data.pkl")
        tree = unpickle(io.BytesIO(archive.read(pickle)), _ADMITTED, _storage)
        order: Order = "<"
        if folder + "byteorder" in archive.names:
            order = ">" if archive.read(folder + "byteorder").strip() == b"big" else "<"
        members = [name for name in archive.names if name.startswith(folder + "data/")]
        storages = {name.removeprefix(folder + "data/"): archive.read(name) for name in members}
    return tree, storages, order


def _read_legacy(path: Path) -> tuple[Any, dict[str, bytes], Order]:
    with open(path, "rb") as file:
        head = io.BytesIO(file.read(_LARGEST_PICKLE))
        found: dict[str, _Storage] = {}

        def storage(identifier: Any) -> _Storage:
            one = _storage(identifier)
            return found.setdefault(one.key, one)

        if unpickle(head, {}, _storage) != MAGIC_NUMBER:
            raise WeightsError("a pickle, but not one that torch.save wrote")
        version, system = unpickle(head, {}, _storage), unpickle(head, {}, _storage)
        if version != 1001 or not isinstance(system, dict):
            raise WeightsError(f"version {str(version)[:20]} of PyTorch's format; 1001 is known")
        tree = unpickle(head, _ADMITTED, storage)
        keys = unpickle(head, {}, _storage)
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise WeightsError("damaged: the list of storages is not one")
        order: Order = "<" if system.get("little_endian", True) else ">"
        file.seek(head.tell())
        size = path.stat().st_size
        storages = {}
        for key in keys:
            if key not in found:
                raise WeightsError(f"damaged: no tensor uses the storage {key[:40]!r}")
            count = int.from_bytes(file.read(8), "little" if order == "<" else "big")
            if count != found[key].count:
                raise WeightsError(
                    f"damaged: storage {key[:40]!r} has {count:,} numbers, not {found[key].count:,}"
                )
            nbytes = count * np.dtype(DTYPES[found[key].kind]).itemsize
            if nbytes > size - file.tell():
                raise WeightsError(f"truncated in storage {key[:40]!r}")
            storages[key] = file.read(nbytes)
        if file.read(1):
            raise WeightsError("damaged: something follows the last storage")
    return tree, storages, order


def _storage(identifier: Any) -> _Storage:
    """What a pickle says of a storage: ("storage", type, key, device, count, view)."""
    if not isinstance(identifier, tuple) or len(identifier) not in (5, 6):
        raise WeightsError("damaged: a persistent identifier is not a storage's")
    tag, kind, key, _, count, *view = identifier
    if tag != "storage" or not isinstance(kind, Name) or not isinstance(key, str):
        raise WeightsError("damaged: a persistent identifier is not a storage's")
    kind_name = kind.name.removeprefix("torch ")
    if kind_name not in DTYPES or type(count) is not int or count < 0:
        raise WeightsError(f"damaged: storage {key[:40]!r} is {kind_name} [{str(count)[:20]}]")
    if view not in ([], [None]):
        raise WeightsError("a storage that is a view of another one, as before PyTorch 0.4")
    return _Storage(key, kind_name, count)


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    if not (isinstance(storage, _Storage) and isinstance(shape, tuple | list)):
        raise TypeError("a tensor without storage or shape")
    if not isinstance(strides, tuple | list) or len(shape) != len(strides) or len(shape) > 32:
        raise TypeError("a tensor whose strides do not fit its shape")
    if not all(type(n) is int and 0 <= n < 1 << 62 for n in (offset, *shape, *strides)):
        raise ValueError("a tensor whose shape or strides are not numbers of at least 0")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(data: Any, *_: Any) -> Any:
    return data


def _size(numbers: Any) -> tuple[Any, ...]:
    if not isinstance(numbers, tuple):
        raise TypeError("a size that is not a tuple")
    return numbers


def _ordered_dict(pairs: Any = ()) -> dict[Any, Any]:
    if pairs:
        raise ValueError("an OrderedDict that is given its items at once")
    return {}


_ADMITTED: dict[str, Any] = {
    "collections OrderedDict": _ordered_dict,
    "torch Size": _size,
    "torch._utils _rebuild_tensor": _rebuild_tensor,
    "torch._utils _rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils _rebuild_parameter": _rebuild_parameter,
    **{f"torch {kind}": None for kind in DTYPES},
}


def _tensors(tree: Any) -> Iterator[tuple[str, _Tensor]]:
    """All tensors in nested containers with their names."""
    entries = 0

    def walk(value: Any, name: str, depth: int) -> Iterator[tuple[str, _Tensor]]:
        nonlocal entries
        entries += 1
        # A container may hold itself, or the same one twice, and that one another twice, ...
        if depth > _DEEPEST or entries > _MOST_ENTRIES:
            raise WeightsError("its containers are nested without end: rejected")
        if isinstance(value, _Tensor):
            yield name or "tensor", value
        elif isinstance(value, dict | list | tuple):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            for key, part in items:
                if len(name) + len(str(key)) > _LONGEST_NAME:
                    raise WeightsError(f"a name is longer than {_LONGEST_NAME} letters: rejected")
                yield from walk(part, f"{name}.{key}" if name else str(key), depth + 1)

    return walk(tree, "", 0)


def _numbers(storage: _Storage, storages: Mapping[str, bytes], order: Order) -> NDArray[Any]:
    dtype = np.dtype(DTYPES[storage.kind]).newbyteorder(order)
    data = storages.get(storage.key)
    if data is None or len(data) != storage.count * dtype.itemsize:
        found = "no" if data is None else f"{len(data):,}"
        raise WeightsError(
            f"storage {storage.key[:40]!r} should have {storage.count:,} numbers ({dtype}), but "
            f"{found} bytes are there"
        )
    flat = np.frombuffer(data, dtype)
    return bfloat16(flat) if storage.kind == "BFloat16Storage" else flat


def _view(name: str, tensor: _Tensor, flat: NDArray[Any]) -> NDArray[Any]:
    """The tensor as a view of its storage, after making sure that it stays within."""
    size = math.prod(tensor.shape)
    steps = zip(tensor.shape, tensor.strides, strict=True)
    last = tensor.offset + sum((n - 1) * stride for n, stride in steps)
    if size and (last >= flat.size or size > flat.size):
        raise WeightsError(
            f"{name[:100]}: shape {tensor.shape} with strides {tensor.strides} from "
            f"{tensor.offset} does not lie within its {flat.size:,} numbers"
        )
    if not size:
        return np.zeros(tensor.shape, flat.dtype)
    strides = [stride * flat.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(
        flat[tensor.offset :], tensor.shape, strides, writeable=False
    )
