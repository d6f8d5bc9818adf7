"""Reads PyTorch's ``.pth`` and ``.pt``: a pickle of tensors that share storages, and the storages.

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
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tinyfcn.weights import images, zipped
from tinyfcn.weights.file import WeightFile, WeightsError, first_bytes, numbers, shaped
from tinyfcn.weights.safetensors import bfloat16
from tinyfcn.weights.unpickle import unpickle

Order = Literal["little", "big"]  # of the bytes of a number

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
DTYPES = {
    "FloatStorage": "f4", "DoubleStorage": "f8", "HalfStorage": "f2", "BFloat16Storage": "u2",
    "LongStorage": "i8", "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1",
    "ByteStorage": "u1", "BoolStorage": "?",
}  # fmt: skip
# Where training scripts keep the weights among other things.
WRAPPERS = ("state_dict", "model_state_dict", "model")

_MOST_ENTRIES, _LONGEST_NAME = 100_000, 1000


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


Storages = dict[str, _Storage]
Contents = tuple[Any, Mapping[str, bytes | memoryview], Order]  # the tree, the storages by key


def recognises(start: bytes) -> bool:
    """Whether the file is a pickle or a zip."""
    pickled = start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
    return pickled or start.startswith(zipped.MAGIC)


def read(path: Path) -> WeightFile:
    """The tensors by name, nested names joined by dots; whatever is no tensor is left out.

    Of a training script's checkpoint only the part in ``WRAPPERS`` is kept, and the ``module.`` of
    a model that was trained on several devices is taken away. Tensors that shared a storage share
    memory here too. The preprocessing is what the names tell,
    see :func:`tinyfcn.weights.images.pytorch`.
    """
    is_zip = first_bytes(path).startswith(zipped.MAGIC)
    found: Storages = {}
    tree, data, order = (_read_zip if is_zip else _read_legacy)(path, found)
    flat = {key: _numbers(one, data.get(key, b""), order) for key, one in found.items()}
    for wrapper in WRAPPERS:
        if isinstance(tree, dict) and isinstance(tree.get(wrapper), dict):
            tree = tree[wrapper]
            break
    arrays = {name: _view(name, one, flat[one.storage.key]) for name, one in _tensors(tree)}
    if not arrays:
        raise WeightsError("it holds no tensors")
    if all(name.startswith("module.") for name in arrays):
        arrays = {name.removeprefix("module."): array for name, array in arrays.items()}
    return WeightFile(arrays, images.pytorch(arrays))


def _read_zip(path: Path, found: Storages) -> Contents:
    members = zipped.read(path)
    pickle = next((name for name in members if name.rpartition("/")[2] == "data.pkl"), None)
    if pickle is None:
        held = ", ".join([*members][:3])
        raise WeightsError(f"a zip archive of neither NumPy nor PyTorch; it holds {held}")
    tree = unpickle(io.BytesIO(members[pickle]), _ADMITTED, partial(_storage, found))
    folder = pickle.removesuffix("data.pkl")
    big = members.get(folder + "byteorder", b"").strip() == b"big"
    data = {key: members.get(f"{folder}data/{key}", b"") for key in found}
    return tree, data, "big" if big else "little"


def _read_legacy(path: Path, found: Storages) -> Contents:
    content = path.read_bytes()
    file = io.BytesIO(content)
    run = partial(unpickle, file, persistent=partial(_storage, found))
    if run({}) != MAGIC_NUMBER:
        raise WeightsError("a pickle, but not one that torch.save wrote")
    version, system, tree, keys = run({}), run({}), run(_ADMITTED), run({})
    if version != 1001 or not isinstance(system, dict) or not isinstance(keys, list):
        raise WeightsError("damaged, or of another version of PyTorch's format than 1001")
    order: Order = "little" if system.get("little_endian", True) else "big"
    data = {}
    rest = memoryview(content)[file.tell() :]
    for key in keys:
        storage = found.get(key) if isinstance(key, str) else None
        if storage is None or int.from_bytes(rest[:8], order) != storage.count:
            raise WeightsError("damaged: a storage is none of those of the tensors")
        end = 8 + storage.count * np.dtype(DTYPES[storage.kind]).itemsize
        data[key], rest = rest[8:end], rest[end:]
    if rest:
        raise WeightsError("damaged: something follows the last storage")
    return tree, data, order


def _storage(found: Storages, identifier: Any) -> _Storage:
    """What a pickle says of a storage: ("storage", type, key, device, count, view)."""
    tag, kind, key, _, count, *view = identifier
    # Only the hash of what is a string is asked for: that of tuples in tuples can end Python.
    if [type(one) for one in (tag, kind, key, count)] != [str, str, str, int]:
        raise TypeError("a persistent identifier is not a storage's")
    if tag != "storage" or kind not in DTYPES or count < 0:
        raise WeightsError(f"damaged: storage {key[:40]!r} has no type or size")
    if view not in ([], [None]):
        raise WeightsError("a storage that is a view of another one, as before PyTorch 0.4")
    storage = _Storage(key, kind, count)
    if found.setdefault(key, storage) != storage:
        raise WeightsError(f"damaged: storage {key[:40]!r} has two types")
    return storage


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    if not isinstance(storage, _Storage) or not len(shape) == len(strides) <= 32:
        raise TypeError("a tensor without storage, or whose strides do not fit its shape")
    if not all(type(n) is int and 0 <= n < 1 << 62 for n in (offset, *shape, *strides)):
        raise ValueError("a tensor whose shape or strides are not numbers of at least 0")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _first(value: Any, *_: Any) -> Any:
    """A parameter as its tensor, a size as its tuple."""
    return value


_ADMITTED: dict[str, Any] = {
    "collections OrderedDict": lambda: {},
    "torch Size": _first,
    "torch._utils _rebuild_tensor": _rebuild_tensor,
    "torch._utils _rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils _rebuild_parameter": _first,
    **{f"torch {kind}": kind for kind in DTYPES},
}


def _tensors(tree: Any) -> Iterator[tuple[str, _Tensor]]:
    """All tensors in nested containers with their names."""
    left, entries = [("", tree)], 0
    while left:
        name, value = left.pop()
        if isinstance(value, _Tensor):
            yield name or "tensor", value
        elif isinstance(value, dict | list | tuple):
            # A container may hold itself, or the same one twice, and that one another twice, ...
            items = value.items() if isinstance(value, dict) else enumerate(value)
            for key, part in reversed([*items]):
                entries += 1
                if entries > _MOST_ENTRIES or len(name) + len(str(key)) > _LONGEST_NAME:
                    raise WeightsError("its containers are nested without end: rejected")
                left.append((f"{name}.{key}" if name else str(key), part))


def _numbers(storage: _Storage, data: bytes | memoryview, order: Order) -> NDArray[Any]:
    dtype = np.dtype(DTYPES[storage.kind]).newbyteorder(order)
    name = f"storage {storage.key[:40]!r}"
    flat = shaped(name, numbers(name, data, dtype), (storage.count,))
    return bfloat16(flat) if storage.kind == "BFloat16Storage" else flat


def _view(name: str, tensor: _Tensor, flat: NDArray[Any]) -> NDArray[Any]:
    """The tensor as a view of its storage, after making sure that it stays within."""
    if 0 in tensor.shape:
        return shaped(name[:100], flat[:0], tensor.shape)
    steps = zip(tensor.shape, tensor.strides, strict=True)
    last = tensor.offset + sum((n - 1) * stride for n, stride in steps)
    if last >= flat.size or math.prod(tensor.shape) > flat.size:
        raise WeightsError(
            f"{name[:100]}: shape {tensor.shape} with strides {tensor.strides} from "
            f"{tensor.offset} does not lie within its {flat.size:,} numbers"
        )
    strides = [stride * flat.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(
        flat[tensor.offset :], tensor.shape, strides, writeable=False
    )
