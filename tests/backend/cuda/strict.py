"""A device that is no GPU: kernels run in the emulator, but its arrays do not mix with NumPy's.

CuPy rejects what it would have to copy between host and device behind one's back; NumPy arrays on
the emulator would let it pass. With this engine such code fails here, without a GPU. Reading a
value (``float(x)``, ``if x``, ``x.item()``) is allowed, but counted: on a GPU it waits for the
device.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyfcn.backend.cuda import CudaBackend
from tinyfcn.backend.cuda.emulator import Emulator


class DeviceArray(np.ndarray):
    """Rejects company: each operation takes arrays of this class and numbers, nothing else."""

    waits = 0  # values that the host has read

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = (), **options: Any):
        if out:
            options["out"] = tuple(_plain(o, ufunc.__name__) for o in out)
        plain = [_plain(x, ufunc.__name__) for x in inputs]
        return _device(getattr(ufunc, method)(*plain, **options), out)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        raise TypeError(f"np.{function.__name__} got an array of the device; use xp")

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(index, _plain(value, "assignment"))

    def __getitem__(self, index: Any) -> Any:
        return _device(super().__getitem__(index))

    def _wait(self) -> np.ndarray:
        DeviceArray.waits += 1
        return self.view(np.ndarray)

    def item(self, *index: int) -> Any:
        return self._wait().item(*index)

    def __bool__(self) -> bool:
        return bool(self._wait())

    def __float__(self) -> float:
        return float(self._wait())

    def __int__(self) -> int:
        return int(self._wait())


def _plain(x: Any, name: str) -> Any:
    if isinstance(x, DeviceArray):
        return x.view(np.ndarray)
    if isinstance(x, np.ndarray) and x.ndim:
        raise TypeError(f"{name}: an array of the host {x.shape} among those of the device")
    return x


def _device(result: Any, out: Any = ()) -> Any:
    if out:
        return out[0] if len(out) == 1 else out
    if isinstance(result, tuple):
        return tuple(_device(r) for r in result)
    return (
        np.asarray(result).view(DeviceArray)
        if isinstance(result, np.ndarray | np.generic)
        else result
    )


class Module:
    """NumPy's functions for arrays of the device, as CuPy has them."""

    ndarray = DeviceArray

    def __getattr__(self, name: str) -> Any:
        found = getattr(np, name)
        if isinstance(found, type | np.ufunc) or not callable(found):
            return found
        makes = name in ("asarray", "array", "ascontiguousarray")  # what the host hands over

        def call(*args: Any, **options: Any) -> Any:
            values = [np.asarray(a) if makes and a is args[0] else _each(a, name) for a in args]
            return _device(found(*values, **{k: _each(v, name) for k, v in options.items()}))

        return call

    @staticmethod
    def asnumpy(x: Any) -> np.ndarray:
        return np.array(x.view(np.ndarray))


def _each(value: Any, name: str) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_each(v, name) for v in value)
    return _plain(value, name)


class StrictEngine(Emulator):
    """The emulator with arrays of its own."""

    name = "strict"
    xp = Module()
    eager = False

    def upload(self, data: np.ndarray) -> Any:
        return lambda: np.array(data, order="C").view(DeviceArray)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return super().empty(shape, dtype).view(DeviceArray)


def strict_backend() -> CudaBackend:
    return CudaBackend(StrictEngine())
