"""Groups of ranks whose arrays are CuPy's: through NCCL, and through MPI where that is missing.

No GPU was at hand: every call was checked against the sources of CuPy 14.0 and 14.2, and the tests
run them on a stand-in for streams, events and NCCL. **How fast they are was not measured.**
"""

from __future__ import annotations

import atexit
import collections
import importlib
import platform
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from tinyfcn import backend
from tinyfcn.backend.cuda.device import DeviceError
from tinyfcn.parallel.group import Wait
from tinyfcn.parallel.mpi import MPIGroup, edges
from tinyfcn.tensor import Array

_NOT_READY = 600  # cudaErrorNotReady


def gpu_group(ranks: Any) -> MPIGroup:
    """The ranks of an :class:`MPIGroup` with arrays of the active backend, which is "cupy": with
    NCCL, or else with a warning that says why not."""
    ranks.barrier()  # fails if one has no GPU; without it the others would wait for that one
    try:
        return NCCLGroup(ranks)
    except DeviceError as error:
        if ranks.rank == 0:
            print(f"warning: {error}; until then gradients go over MPI", file=sys.stderr)
        return DeviceGroup(ranks)


class DeviceGroup(MPIGroup):
    """MPI between GPUs, which the ranks of a machine take in turn. MPI gets arrays as they are if
    it says that it takes them (memory allocation kinds, MPI 4.1), else copies on the host."""

    def __init__(self, ranks: MPIGroup) -> None:
        super().__init__(ranks.comm, ranks.screen)
        active: Any = backend.active()
        self._cupy, self._cuda = active.xp, active.xp.cuda
        active.engine.use_device(self.local_rank % self._cuda.runtime.getDeviceCount())
        kinds = self.comm.Get_info().Get("mpi_memory_alloc_kinds") or ""
        self._direct = not {"cuda", "cuda:device"}.isdisjoint(kinds.split(","))

    def broadcast(self, arrays: Sequence[Array]) -> None:
        for array in arrays:
            self._lend(lambda lent: lambda: MPIGroup.broadcast(self, [lent]), array)()

    def start_sum(self, array: Array) -> Wait:
        return self._lend(super().start_sum, array)

    def start_exchange(self, sent: Array, received: Array, counts: Sequence[int]) -> Wait:
        return self._lend(super().start_exchange, sent, received, counts=counts)

    def start_collect(self, part: Array, whole: Array) -> Wait:
        return self._lend(super().start_collect, part, whole)

    def _lend(self, start: Callable[..., Wait], *arrays: Any, **more: Any) -> Wait:
        """Give MPI arrays that are ready to be read; the last is the one that changes."""
        if self._direct:
            self._cuda.get_current_stream().synchronize()
            return start(*arrays, **more)
        copies = [self._cupy.asnumpy(array) for array in arrays]
        arrived = start(*copies, **more)

        def wait() -> None:
            arrived()
            arrays[-1].set(copies[-1])

        return wait


class NCCLGroup(DeviceGroup):
    """NCCL between GPUs, one a rank; small objects and the news of a failure go through MPI.

    NCCL works on a stream of its own, behind what was computed before. Who waits for a result asks
    whether it is there, as :class:`MPIGroup` does; the computing stream never waits for another
    rank, so that what is on the device can still be saved when that one has failed. Only the first
    calls may block, while NCCL connects the ranks.

    Raises:
        DeviceError: on all ranks, where one finds no NCCL, or two share a GPU.
    """

    def __init__(self, ranks: MPIGroup) -> None:
        super().__init__(ranks)
        self._library = library = importlib.import_module("cupy.cuda.nccl")
        gpus = self.gather((self._cuda.Device().pci_bus_id, platform.node(), library.available))
        if lacking := [rank for rank, (*_, found) in enumerate(gpus) if not found]:
            package = f"nvidia-nccl-cu{self._cuda.driver.get_build_version() // 1000}"
            raise DeviceError(f"NCCL: rank {lacking[0]} has none; on Linux, pip install {package}")
        (gpu, host, _), count = collections.Counter(gpus).most_common(1)[0]
        if count > 1:
            raise DeviceError(f"NCCL: {count} ranks share GPU {gpu} of {host}; each needs its own")
        name = self.from_rank_0(library.get_unique_id)
        self._nccl = library.NcclCommunicator(self.size, name, self.rank)
        self._stream = self._cuda.Stream(non_blocking=True)
        atexit.register(self._nccl.destroy)

    def broadcast(self, arrays: Sequence[Array]) -> None:
        self._begin([("broadcast", (array, array), 0) for array in arrays])()

    def start_sum(self, array: Array) -> Wait:
        return self._begin([("allReduce", (array, array), self._library.NCCL_SUM)])

    def start_exchange(self, sent: Array, received: Array, counts: Sequence[int]) -> Wait:
        calls = [("send", (row,), rank) for rank, row in enumerate(sent)]
        calls += [("recv", (received[a:b],), rank) for rank, (a, b) in enumerate(edges(counts))]
        return self._begin(calls)

    def start_collect(self, part: Array, whole: Array) -> Wait:
        return self._begin([("allGather", (part, whole))])

    def end(self, *error: Any, **more: Any) -> NoReturn:
        try:
            super().end(*error, **more)
        finally:
            self._nccl.abort()  # what waits for another rank would keep the process

    def _begin(self, calls: Sequence[tuple[Any, ...]]) -> Wait:
        """Queue calls behind what was computed so far: a method of the communicator, its arrays,
        and what follows their size and type. Only sums need to know more than bytes."""
        library, stream, nccl = self._library, self._stream, self._nccl
        stream.wait_event(self._cuda.get_current_stream().record())
        library.groupStart()
        for method, arrays, *more in calls:
            first, *_ = arrays
            what = first.nbytes, library.NCCL_UINT8
            if method == "allReduce":
                what = first.size, getattr(library, f"NCCL_{first.dtype.name.upper()}")
            getattr(nccl, method)(*[a.data.ptr for a in arrays], *what, *more, stream.ptr)
        library.groupEnd()
        event = stream.record()

        def done() -> bool:
            nccl.check_async_error()
            status: int = self._cuda.runtime.eventQuery(event.ptr)
            if status != _NOT_READY:  # event.done would hide an error of the device, for ever
                self._cuda.runtime.check_status(status)
            return not status

        def wait(kept: Any = calls) -> None:  # else their memory would be used again
            self._wait(done)

        return wait
