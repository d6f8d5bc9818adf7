"""GPUs that are none, for ranks that are threads: streams, events and NCCL under CuPy's names.

What a stream is given is done later, a piece at each question whether an event has happened, and
that of the newest stream first: who does not wait gets old numbers. A call of NCCL is done when
those of all ranks have come to the head of their streams. Memory is real: pointers are addresses,
which must lie in arrays that are still alive when they are read or written.

Names, arguments and their types are those of CuPy 14.0.0 and 14.2.0, read in these files of both:

- cupy_backends/cuda/libs/nccl.pyx and nccl.pxd: a unique id is bytes, since 14.0; types and sums
  are numbers; no call takes an array.
- cupy/cuda/nccl.py: ``available``; ``import cupy`` does not load it.
- cupy/_environment.py and the wheels' _wheel.json: NCCL comes as nvidia-nccl-cu12 or -cu13, neither
  with CuPy nor with its [ctk].
- cupyx/distributed/_nccl_comm.py: the order of arguments in use; a rank may send to itself.
- cupy/cuda/stream.pyx: ``record``, ``wait_event``, ``ptr``; ``Event.done`` hides errors.
- cupy/cuda/device.pyx: ``use``, ``pci_bus_id``; the current device is a thread's own.
- cupy/_core/core.pyx, cupy/__init__.py: ``set``, ``data.ptr``, ``asnumpy``.
- cupy_backends/cuda/api/runtime.pyx: ``eventQuery`` gives a status, ``check_status`` raises.

In NCCL's src/enqueue.cc an empty sum is dropped, an empty row is sent and received.
"""

import collections
import ctypes
import itertools
import sys
import threading
import types
import weakref

import numpy as np

PATIENCE = 20_000  # questions without an answer
KINDS = {0: "i1", 1: "u1", 2: "i4", 3: "u4", 4: "i8", 5: "u8", 6: "f2", 7: "f4", 8: "f8"}
MEMORY = {}  # of arrays that are alive: first byte and size
NAMES = "INT8 UINT8 INT32 UINT32 INT64 UINT64 FLOAT16 FLOAT32 FLOAT64"


class CUDARuntimeError(RuntimeError):
    pass


class NcclError(RuntimeError):
    pass


class Array(np.ndarray):
    """Of a device, which knows of its memory as soon as it is asked where it is."""

    @property
    def data(self):
        owner = self
        while owner.base is not None:
            owner = owner.base
        start, size = owner.__array_interface__["data"][0], owner.nbytes
        if start not in MEMORY:
            weakref.finalize(owner, MEMORY.pop, start)
            MEMORY[start] = size
        return types.SimpleNamespace(ptr=self.__array_interface__["data"][0])

    def set(self, memory):
        assert type(memory) is np.ndarray and memory.dtype == self.dtype
        self[...] = memory


class Stream:
    def __init__(self, gpu, name):
        self.gpu, self.name = gpu, name
        self.ptr = 1000 * gpu.number + len(gpu.streams)
        self.queue = collections.deque()  # what gives whether it was done
        gpu.streams.append(self)

    def record(self):
        event = types.SimpleNamespace(ptr=next(self.gpu.machine.numbers), stream=self.name)
        self.gpu.events[event.ptr] = False
        self.queue.append(lambda: self.gpu.happen(event.ptr))
        self.gpu.log.append((self.name, "record"))
        return event

    def wait_event(self, event):
        assert event.ptr in self.gpu.events
        self.queue.append(lambda: self.gpu.events[event.ptr])
        self.gpu.log.append((self.name, "wait for", event.stream))

    def synchronize(self):
        self.gpu.log.append((self.name, "synchronize"))
        while self.queue:
            self.gpu.work()


class GPU:
    def __init__(self, machine, number):
        self.machine, self.number = machine, number
        self.status, self.lock = 0, threading.Lock()  # ranks may share a GPU
        self.log, self.streams, self.events = [], [], {}
        self.questions = 0
        self.main = Stream(self, "main")

    def array(self, values, dtype=None):
        return np.array(values, dtype, order="C").view(Array)

    def compute(self, function):
        """Let the computing stream call a function."""
        self.main.queue.append(lambda: function() or True)

    def happen(self, number):
        self.events[number] = True
        return True

    def work(self):
        """A piece of work of the newest stream that can go on."""
        with self.lock:
            self.questions += 1
            assert self.questions < PATIENCE, f"it would hang: {self.log[-5:]}"
            for stream in reversed(self.streams):
                if stream.queue and stream.queue[0]():
                    stream.queue.popleft()
                    self.questions = 0
                    return

    def query(self, number):
        self.work()
        return self.status or (0 if self.events[number] else 600)


class Machine:
    """``modules`` is what there is instead of CuPy; ``gpus`` are what its devices stand for."""

    def __init__(self, devices, loaded=lambda: True):
        self.numbers = itertools.count(1)
        self.gpus = [GPU(self, n) for n in range(devices)]
        self.lock = threading.Lock()
        self.met = {}  # name of a communicator, number of a group of calls: {rank: calls}
        self.done = set()
        self.names = []  # of communicators
        self._local = threading.local()
        self.modules = {"cupy": self._cupy(), "cupy.cuda.nccl": self._nccl(loaded)}

    @property
    def gpu(self):
        return self.gpus[getattr(self._local, "number", 0)]

    def _cupy(self):
        machine = self

        class Device:
            compute_capability = "90"

            def __init__(self, number=None):
                self.id = machine.gpu.number if number is None else number
                self.pci_bus_id = f"0000:{self.id:02}:00.0"

            def use(self):
                assert 0 <= self.id < len(machine.gpus)
                machine._local.number = self.id

        def stream(non_blocking):
            assert non_blocking, "it would wait for the stream that computes"
            return Stream(machine.gpu, "nccl")

        def check_status(status):
            if status:
                raise CUDARuntimeError(status)

        cupy = types.ModuleType("cupy")
        cupy.__getattr__ = _on_device
        cupy.asnumpy = lambda array: machine.gpu.main.synchronize() or np.array(array)
        cupy.cuda = types.SimpleNamespace(
            Device=Device, Stream=stream, get_current_stream=lambda: machine.gpu.main,
            driver=types.SimpleNamespace(get_build_version=lambda: 12090),
            nvrtc=types.SimpleNamespace(getVersion=lambda: (12, 9)),
            runtime=types.SimpleNamespace(
                getDeviceCount=lambda: len(machine.gpus), check_status=check_status,
                eventQuery=lambda number: machine.gpu.query(number),
            ),
        )  # fmt: skip
        return cupy

    def _nccl(self, loaded):
        machine, local = self, threading.local()
        nccl = types.ModuleType("cupy.cuda.nccl")
        nccl.__getattr__ = lambda name: {"available": loaded}[name]()
        for number, name in enumerate(NAMES.split()):
            setattr(nccl, f"NCCL_{name}", number)
        nccl.NCCL_SUM = 0

        def get_unique_id():
            machine.names.append(bytes([len(machine.names)]) * 128)
            return machine.names[-1]

        def start():
            assert getattr(local, "calls", None) is None, "a group in a group"
            local.calls = []
            machine.gpu.log.append(("groupStart",))

        def end():
            calls, local.calls = local.calls, None
            machine.gpu.log.append(("groupEnd",))
            for communicator, stream, group in _by_stream(calls):
                communicator.queue(stream, group)

        def add(communicator, stream, call):
            if getattr(local, "calls", None) is None:
                communicator.queue(stream, [call])
            else:
                local.calls.append((communicator, stream, call))

        nccl.groupStart, nccl.groupEnd, nccl.get_unique_id = start, end, get_unique_id
        nccl.NcclCommunicator = lambda *args: Communicator(machine, add, *args)
        return nccl

    def meet(self, number, rank, size, calls):
        """Do calls when those of all ranks are there; whether that is so."""
        with self.lock:
            if number not in self.done:
                met = self.met.setdefault(number, {})
                met[rank] = calls
                if len(met) < size:
                    return False
                _do([met[r] for r in range(size)])
                self.done.add(number)
            return True


class Communicator:
    def __init__(self, machine, add, size, name, rank):
        assert type(size) is int and type(rank) is int and name in machine.names
        self.machine, self.gpu, self.add, self.size, self.rank = (
            machine,
            machine.gpu,
            add,
            size,
            rank,
        )
        self.name, self.number, self.over, self.error = name, 0, None, None
        self.gpu.communicator = self

    def queue(self, stream, calls):
        number, self.number = (self.name, self.number), self.number + 1
        meet = self.machine.meet
        stream.queue.append(lambda: not self.over and meet(number, self.rank, self.size, calls))

    def allReduce(self, source, target, count, kind, operation, stream):
        assert operation == 0
        self._call("allReduce", (source, target), count, kind, (), stream)

    def broadcast(self, source, target, count, kind, root, stream):
        self._call("broadcast", (source, target), count, kind, (root,), stream)

    def allGather(self, source, target, count, kind, stream):
        self._call("allGather", (source, target), count, kind, (), stream)

    def send(self, source, count, kind, peer, stream):
        self._call("send", (source,), count, kind, (peer,), stream)

    def recv(self, target, count, kind, peer, stream):
        self._call("recv", (target,), count, kind, (peer,), stream)

    def _call(self, name, pointers, count, kind, more, stream):
        if self.over:
            raise NcclError("invalid argument")
        assert all(type(n) is int for n in (*pointers, count, kind, *more, stream))
        on = next(s for s in self.gpu.streams if s.ptr == stream)  # of the own device
        self.gpu.log.append((on.name, name, count, kind, *more))
        self.add(self, on, (name, pointers, count, np.dtype(KINDS[kind]), more))

    def check_async_error(self):
        if self.error or self.over:
            raise NcclError(self.error or "invalid argument")

    def abort(self):
        self.over = self.over or "aborted"

    def destroy(self):
        self.over = self.over or "destroyed"


def _on_device(name):
    """A function of NumPy whose results are the device's."""
    found = getattr(np, name)
    if isinstance(found, type) or not callable(found):
        return found

    def call(*args, **options):
        made = found(*args, **options)
        return made.view(Array) if isinstance(made, np.ndarray) else made

    return call


def _by_stream(calls):
    for (communicator, stream), group in itertools.groupby(calls, lambda call: call[:2]):
        yield communicator, stream, [call for *_, call in group]


def _do(ranks):
    """Calls that all ranks have come to."""
    if {name for calls in ranks for name, *_ in calls} <= {"send", "recv"}:
        sent = {}
        for number, calls in enumerate(ranks):
            for name, (place,), count, kind, (peer,) in calls:
                if name == "send":
                    assert (number, peer) not in sent
                    sent[number, peer] = _read(place, count, kind)
        for number, calls in enumerate(ranks):
            for name, (place,), count, kind, (peer,) in calls:
                if name == "recv":
                    found = sent.pop((peer, number))
                    assert found.size == count and found.dtype == kind, "sent and received differ"
                    _write(place, found)
        assert not sent, f"never received: {[*sent]}"
        return
    for each in zip(*ranks, strict=True):
        alike = {(name, count, kind, more) for name, _, count, kind, more in each}
        assert len(alike) == 1, f"ranks differ: {alike}"
        ((name, count, kind, more),) = alike
        found = [_read(source, count, kind) for _, (source, _), *_ in each]
        if name == "allReduce":
            result = np.sum(found, axis=0, dtype=kind)
        else:
            result = found[more[0]] if name == "broadcast" else np.concatenate(found)
        for _, (_, target), *_ in each:
            _write(target, result)


def _check(place, size):
    inside = (start <= place and place + size <= start + n for start, n in [*MEMORY.items()])
    assert size == 0 or any(inside), f"{size} bytes at {place} are in no array"


def _read(place, count, kind):
    _check(place, count * kind.itemsize)
    return np.frombuffer(ctypes.string_at(place, count * kind.itemsize), kind)


def _write(place, values):
    _check(place, values.nbytes)
    ctypes.memmove(place, values.tobytes(), values.nbytes)


def install(monkeypatch, machine):
    for name, module in machine.modules.items():
        monkeypatch.setitem(sys.modules, name, module)
