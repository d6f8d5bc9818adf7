"""Reads PyTorch's ``.pth`` and ``.pt``: a pickle of tensors that share storages, and the storages.

Since version 1.6 a zip: ``data.pkl`` and, a member each, ``data/0``, ``data/1``, … Before, one
pickle after the other (a magic number, a version, facts about the machine, the object, the keys of
the storages), then for each storage its length in 8 bytes and its numbers. Nothing in the file is
executed, see :mod:`tinyfcn.weights.unpickle`. What ``torch.load(weights_only=True)`` reads is read;
what is no dense tensor of real numbers is passed over.

Source: pytorch/pytorch, torch/serialization.py, torch/_utils.py, torch/_weights_only_unpickler.py.
"""

from __future__ import annotations

import io
import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tinyfcn.backend.half import from_bfloat16
from tinyfcn.weights import file, images, zipped
from tinyfcn.weights.file import WeightFile, WeightsError, first_bytes, numbers, shaped
from tinyfcn.weights.unpickle import set_items, unpickle

Order = Literal["little", "big"]  # of the bytes of a number

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
DTYPES = {
    "FloatStorage": "f4", "DoubleStorage": "f8", "HalfStorage": "f2", "BFloat16Storage": "u2",
    "LongStorage": "i8", "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1",
    "ByteStorage": "u1", "BoolStorage": "?",
    # Those that are passed over: V is so many bytes of anything.
    "ComplexFloatStorage": "V8", "ComplexDoubleStorage": "V16", "UntypedStorage": "V1",
    "QInt8Storage": "V1", "QUInt8Storage": "V1", "QInt32Storage": "V4", "QUInt4x2Storage": "V1",
    "QUInt2x4Storage": "V1",
}  # fmt: skip
# Where training scripts keep the weights among other things.
WRAPPERS = ("state_dict", "model_state_dict", "model")
# What wrappers of networks put before every name.
PREFIXES = ("module.", "_orig_mod.", "model.")

_MOST_ENTRIES, _MOST_TENSORS, _LONGEST_NAME = 400_000, 20_000, 1000


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
Data = bytes | bytearray | memoryview
Contents = tuple[Any, Mapping[str, Data], Order]  # the tree, the storages by key


def recognises(start: bytes) -> bool:
    """Whether the file is a pickle or a zip."""
    pickled = start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
    return pickled or start.startswith(zipped.MAGIC)


def read(path: Path) -> WeightFile:
    """The tensors by name, nested names joined by dots; whatever is no tensor is left out.

    Of a training script's checkpoint only the part in ``WRAPPERS`` is kept, and what a model that
    was compiled or trained on several devices has before every name (``PREFIXES``) is taken away.
    Tensors that shared a storage share memory here too, and so do the elements of an expanded one.
    The preprocessing is what the names tell, see :func:`tinyfcn.weights.images.pytorch`.
    """
    is_zip = first_bytes(path).startswith(zipped.MAGIC)
    found: Storages = {}
    tree, data, order = (_read_zip if is_zip else _read_legacy)(path, found)
    flat = cache(lambda storage: _numbers(storage, data.get(storage.key, b""), order))
    if isinstance(tree, dict):
        tree = next((tree[key] for key in WRAPPERS if isinstance(tree.get(key), dict)), tree)
    tensors = [(name, one, flat(one.storage)) for name, one in _tensors(tree)]
    if not 0 < len(tensors) <= _MOST_TENSORS:
        raise WeightsError(f"it holds {len(tensors):,} dense tensors of real numbers")
    # A number of an expanded tensor is in many places, until somebody copies it.
    more = (max(0, math.prod(one.shape) - own.size) * own.itemsize for _, one, own in tensors)
    if sum(more) > file.allowance(path):
        raise WeightsError("its expanded tensors have absurdly many elements: rejected")
    arrays = {name: _view(name, one, own) for name, one, own in tensors}
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in arrays)), ""):
        arrays = {name.removeprefix(prefix): array for name, array in arrays.items()}
    return WeightFile(arrays, images.pytorch(arrays))


def _read_zip(path: Path, found: Storages) -> Contents:
    members = zipped.read(path)
    pickle = next((name for name in members if name.rpartition("/")[2] == "data.pkl"), None)
    if pickle is None:
        held = ", ".join([*members][:3])
        raise WeightsError(f"a zip archive of neither NumPy nor PyTorch; it holds {held}")
    tree = unpickle(io.BytesIO(members[pickle]), _admitted, partial(_storage, found))
    folder = pickle.removesuffix("data.pkl")
    big = members.get(folder + "byteorder", b"").strip() == b"big"
    data: dict[str, Data] = {key: members.get(f"{folder}data/{key}", b"") for key in found}
    return tree, data, "big" if big else "little"


def _read_legacy(path: Path, found: Storages) -> Contents:
    content = path.read_bytes()
    file = io.BytesIO(content)
    run = partial(unpickle, file, _admitted, partial(_storage, found))
    if run() != MAGIC_NUMBER:
        raise WeightsError("a pickle, but not one that torch.save wrote")
    version, system, tree, keys = (run() for _ in range(4))
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
    if tag != "storage" or kind not in DTYPES or not 0 <= count < 1 << 62:
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


# What the names in a pickle stand for here: None for types, which are known by their last word.
_NAMES: dict[str, Callable[..., Any] | None] = {
    r"torch(\.\w+)* \w*(Storage|Tensor)": None,
    r"torch (bool|b?float\d\w*|complex\d+|q?u?int\w+|bits\w+|per_\w+)": None,
    r"torch\._utils _rebuild_tensor(_v2)?": _rebuild_tensor,
    # A parameter as its tensor, a size as its tuple; a tensor of a class of its own as a tensor.
    r"torch Size|torch\.nn\.parameter Parameter|torch\._utils _rebuild_(parameter\w*"
    r"|device_tensor_from_cpu_tensor)": lambda value, *_: value,
    r"torch\._tensor _rebuild_from_type_v2": lambda make, _, values, *__: make(*values),
    # Python 2 saved an OrderedDict as a list of pairs, Python 3 fills it later.
    r"collections OrderedDict": lambda pairs=(): set_items({}, *itertools.chain(*pairs)),
    # What lies beside the weights, tensors of types that NumPy lacks among it.
    r"torch device|torch\.serialization _get_layout|torch\._utils _rebuild_(tensor_v3|qtensor"
    r"|sparse_tensor|meta_tensor_no_storage|nested_tensor|wrapper_subclass|device_tensor_\w+)"
    r"|(builtins|__builtin__) (bytearray|complex|set)|_codecs encode|collections Counter"
    r"|numpy (dtype|ndarray)|numpy\._?core\.multiarray (scalar|_reconstruct)": lambda *_: None,
}


def _admitted(name: str) -> Any:
    """What stands for a name; None if it is not admitted."""
    found = (value for pattern, value in _NAMES.items() if re.fullmatch(pattern, name))
    return next((value or name.rpartition(" ")[2] for value in found), None)


def _tensors(tree: Any) -> Iterator[tuple[str, _Tensor]]:
    """All dense tensors of real numbers in nested containers with their names."""
    left, entries = [("", tree)], 0
    while left:
        name, value = left.pop()
        if isinstance(value, _Tensor):
            if not DTYPES[value.storage.kind].startswith("V"):
                yield name or "tensor", value
        elif isinstance(value, dict | list | tuple):
            # A container may hold itself, or the same one twice, and that one another twice, ...
            items = value.items() if isinstance(value, dict) else enumerate(value)
            for key, part in reversed([*items]):
                entries += 1
                if entries > _MOST_ENTRIES or len(name) + len(str(key)) > _LONGEST_NAME:
                    raise WeightsError("its containers are nested without end: rejected")
                if isinstance(part, _Tensor | dict | list | tuple):
                    left.append((f"{name}.{key}" if name else str(key), part))


def _numbers(storage: _Storage, data: Data, order: Order) -> NDArray[Any]:
    dtype = np.dtype(DTYPES[storage.kind]).newbyteorder(order)
    name = f"storage {storage.key[:40]!r}"
    flat = shaped(name, numbers(name, data, dtype), (storage.count,))
    return from_bfloat16(flat) if storage.kind == "BFloat16Storage" else flat


def _view(name: str, tensor: _Tensor, flat: NDArray[Any]) -> NDArray[Any]:
    """The tensor as a view of its storage, after making sure that it stays within."""
    if 0 in tensor.shape:
        return shaped(name[:100], flat[:0], tensor.shape)
    steps = zip(tensor.shape, tensor.strides, strict=True)
    last = tensor.offset + sum((n - 1) * stride for n, stride in steps)
    if last >= flat.size:
        raise WeightsError(
            f"{name[:100]}: shape {tensor.shape} with strides {tensor.strides} from "
            f"{tensor.offset} does not lie within its {flat.size:,} numbers"
        )
    strides = [stride * flat.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(
        flat[tensor.offset :], tensor.shape, strides, writeable=False
    )
