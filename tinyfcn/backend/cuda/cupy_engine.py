"""Kernels on a GPU, through CuPy, which compiles each .cu file for the GPU it finds."""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from tinyfcn.backend.cuda.device import require_device
from tinyfcn.backend.cuda.kernels import declared, folder, instances
from tinyfcn.backend.cuda.timing import Gpu, by_events, describe

MOST_TABLES = 64
_NULL = np.uintp(0)


class CupyEngine:
    """An engine (see ``Engine`` in launcher.py) on the current device.

    Raises:
        DeviceError: if there is no GPU that CuPy can use.
    """

    name = "cupy"
    eager = False

    def __init__(self) -> None:
        self.xp: Any = require_device()
        self.device = self.xp.cuda.Device()
        self.kernels = declared()
        self._copies: list[tuple[Any, Any, Any]] = []  # that may not be done yet
        self._uploading = threading.Lock()
        self._modules: dict[str, Any] = {}
        self._tables: dict[tuple[int, ...], Any] = {}
        self._functions: dict[str, Any] = {}  # kept: to ask a module takes as long as a launch

    @functools.cached_property
    def processors(self) -> int:
        return int(self.device.attributes["MultiProcessorCount"])

    @property
    def capability(self) -> int:
        return int(self.device.compute_capability)

    def use_device(self, number: int) -> None:
        """Compute on another device from now on; before there is any array."""
        self.device = self.xp.cuda.Device(number)
        self.device.use()
        self._functions.clear()

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """A new C-contiguous array; what it holds is undefined."""
        return self.xp.empty(shape, dtype)

    def upload(self, data: Any) -> Callable[[], Any]:
        """Copy a NumPy array while the device computes; the host waits for nothing.

        The copy has a stream of its own. That one begins when the current stream has done what it
        was given so far: its memory may have belonged to an array which that work still reads. And
        the current stream goes on when the array is there, from where that is asked for.
        """
        cuda = self.xp.cuda
        with self.device:  # which is another one to begin with in a worker of the loader
            current = cuda.get_current_stream()
            array = self.xp.empty(data.shape, data.dtype, order="C")
            pinned = cuda.alloc_pinned_memory(max(1, data.nbytes))
            source = np.frombuffer(pinned, data.dtype, data.size).reshape(data.shape)
            source[...] = data
            copying = cuda.Stream(non_blocking=True)
            copying.wait_event(current.record())
            array.set(source, stream=copying)
            copied = copying.record()
            with self._uploading:  # both memories are needed until then
                self._copies = [copy for copy in self._copies if not copy[0].done]
                self._copies.append((copied, array, pinned))

        def ready() -> Any:
            cuda.get_current_stream().wait_event(copied)
            return array

        return ready

    def synchronize(self) -> None:
        """Wait until the current stream is done."""
        self.xp.cuda.get_current_stream().synchronize()

    def timed(self, work: Callable[[], object], repeats: int) -> list[float]:
        """Seconds that the device takes for each repetition of work."""
        return by_events(self.xp, work, repeats)

    def gpu(self) -> Gpu:
        """What it is, and what it could do."""
        return describe(self.xp, self.device)

    def run(
        self, file: str, function: str, grid: tuple[int, ...], block: tuple[int, ...],
        arguments: tuple[Any, ...], shared_mem: int,
    ) -> None:  # fmt: skip
        """Launch on the current stream; the kernel may still run when this returns."""
        kernel = self._functions.get(function)
        if kernel is None:
            if file not in self._modules:
                self._modules[file] = self._module(file)
            kernel = self._functions[function] = self._modules[file].get_function(function)
        # CuPy has no null pointer: its None is no argument at all.
        packed = tuple([
            _NULL if a is None else self._table(a) if isinstance(a, list) else a for a in arguments
        ])  # fmt: skip
        kernel(grid, block, packed, shared_mem=shared_mem)

    def _table(self, arrays: list[Any]) -> Any:
        """Their addresses, on the device. They mostly come again: CuPy's pool gives the arrays of a
        step the memory of those of the last one."""
        addresses = tuple([array.data.ptr for array in arrays])
        if addresses not in self._tables:
            if len(self._tables) >= MOST_TABLES:
                self._tables.clear()
            self._tables[addresses] = self.xp.asarray(np.array(addresses, np.uint64))
        return self._tables[addresses]

    def _module(self, file: str) -> Any:
        # CuPy keeps what it compiled by the text of the .cu file and the options; the headers that
        # the file includes are told apart by a hash among the options.
        headers = b"".join(h.read_bytes() for h in sorted(folder().glob("*.cuh")))
        digest = hashlib.sha256(headers).hexdigest()[:16]
        return self.xp.RawModule(
            code=(folder() / file).read_text("utf-8"),
            options=("-std=c++17", f"-I{folder()}", f"-DTINYFCN_HEADERS=0x{digest}"),
            name_expressions=instances(self.kernels, file),
        )
