"""Ranks with a GPU each, on a stand-in for GPUs, NCCL and MPI: what is asked of them, in which
order, on which stream; and that it gives the right numbers only because of that."""

import gc
import itertools
import re
import threading
import types

import numpy as np
import pytest
from fake_gpu import CUDARuntimeError, Machine, NcclError, install
from mpiexec import needs_mpi, run_ranks
from thread_group import ThreadGroup, on_ranks

from tinyfcn import backend, nn
from tinyfcn.backend.cuda import CudaBackend, device
from tinyfcn.backend.cuda.cupy_engine import CupyEngine
from tinyfcn.backend.cuda.device import DeviceError
from tinyfcn.parallel.exchange import Exchange
from tinyfcn.parallel.group import Group, RankFailed
from tinyfcn.parallel.mpi import MPIGroup
from tinyfcn.parallel.nccl import DeviceGroup, NCCLGroup, gpu_group


@pytest.fixture
def ranks(monkeypatch):
    """``ranks(size, work, make)`` runs ``work(group, gpu)`` on threads with GPUs of ``machine``."""

    def start(self, comm, screen):
        self.comm, self.screen = comm, screen
        self.rank, self.size = comm.rank, comm.size
        self.local_rank, self.local_size = comm.local_rank, comm.local_size

    def poke(self):
        if failed := self.comm._meeting._failed:
            raise RankFailed(*failed)

    def end(self, error, message, status):
        raise SystemExit(status)

    monkeypatch.setattr(MPIGroup, "__init__", start)
    monkeypatch.setattr(MPIGroup, "end", end)
    monkeypatch.setattr(MPIGroup, "poke", poke)
    for name in ("broadcast", "start_sum", "start_exchange", "start_collect", "gather"):
        method = getattr(ThreadGroup, name)
        monkeypatch.setattr(
            MPIGroup,
            name,
            lambda self, *args, method=method, **more: method(self.comm, *args, **more),
        )
    monkeypatch.setattr(device, "installed", lambda: {"cupy-cuda12x": "14.2.0"})

    def run(size, work, make=NCCLGroup, machine=None, kinds=None):
        machine = machine or Machine(size)
        install(monkeypatch, machine)

        def rank(comm):
            comm.Get_info = lambda: types.SimpleNamespace(Get={"mpi_memory_alloc_kinds": kinds}.get)
            with backend.using(CudaBackend(CupyEngine())):
                group = make(MPIGroup(comm, None))
                return work(group, machine.gpu)

        return on_ranks(size, rank)

    return run


def everything(group, gpu, kind):
    """Each method, on arrays that the device computes after the method was called."""
    n = group.rank + 1
    shared = [gpu.array(np.zeros((2, 3)), kind), gpu.array(0.0, kind), gpu.array([0, 0], "i8")]
    sums = gpu.array(np.zeros((2, 2)), kind)
    sent = gpu.array(np.zeros((group.size, n)), "u2")
    counts = [rank + 1 for rank in range(group.size)]
    received = gpu.array(np.zeros(sum(counts)), "u2")
    part = gpu.array(np.zeros(2), kind)
    whole = gpu.array(np.zeros(2 * group.size), kind)
    for array in shared:
        gpu.compute(lambda array=array: array.fill(n))
    group.broadcast(shared)
    gpu.compute(lambda: sums.fill(n))
    first = group.start_sum(sums)
    gpu.compute(lambda: np.copyto(sent, np.arange(group.size)[:, None] * 10 + n, "unsafe"))
    second = group.start_exchange(sent, received, counts)
    gpu.compute(lambda: np.copyto(part, [n, 7]))
    third = group.start_collect(part, whole)
    third()
    first()
    second()
    gpu.main.synchronize()
    return shared, sums, received, whole


def check(found, kind):
    size = len(found)
    for rank, (shared, sums, received, whole) in enumerate(found):
        assert all((array == 1).all() for array in shared)
        assert (sums == size * (size + 1) / 2).all() and sums.dtype == kind
        assert received.tolist() == [10 * rank + n for n in range(1, size + 1) for _ in range(n)]
        assert whole.tolist() == [item for n in range(1, size + 1) for item in (n, 7)]


@pytest.mark.parametrize(
    ("size", "kind"), [(1, "f4"), (2, "f2"), (3, "f8"), (4, "f4"), (2, "i8"), (2, "i4")]
)
def test_every_method(ranks, size, kind):
    check(ranks(size, lambda group, gpu: everything(group, gpu, kind)), kind)


def test_what_is_called_in_which_order_on_which_stream(ranks):
    def work(group, gpu):
        everything(group, gpu, "f4")
        return gpu.log

    before = [("main", "record"), ("nccl", "wait for", "main"), ("groupStart",)]
    after = [("groupEnd",), ("nccl", "record")]
    pairs = [(("nccl", "send", 2 * n, 1, r), ("nccl", "recv", 2 * (r + 1), 1, r))
             for n in (1, 2) for r in (0, 1)]  # fmt: skip
    for log, rows in zip(ranks(2, work), (pairs[:2], pairs[2:]), strict=True):
        calls = [
            [("nccl", "broadcast", n, 1, 0) for n in (24, 4, 16)],
            [("nccl", "allReduce", 4, 7)],
            [row[0] for row in rows] + [row[1] for row in rows],
            [("nccl", "allGather", 8, 1)],
        ]
        expected = list(itertools.chain(*((*before, *group, *after) for group in calls)))
        assert [entry for entry in log if "synchronize" not in entry] == expected


def test_broadcast_is_over_when_it_returns(ranks):
    def work(group, gpu):
        weights = gpu.array([1.0 + group.rank])
        group.broadcast([weights])
        return weights.tolist()

    assert ranks(2, work) == [[1.0], [1.0]]


@pytest.mark.parametrize("half", [False, True])
def test_gradients_of_shards(ranks, half, rng):
    """Bit for bit those of one process."""
    gradients = rng.standard_normal((4, 2, 5)).astype(np.float32)

    def sums(group, own, counts):
        p = nn.Parameter(np.zeros((2, 5), np.float32))
        exchange = Exchange([p], group, counts, in_order=True, half=half)
        for _ in range(2):
            exchange.finish([{p: g} for g in gradients[own]])
        return np.array(p.grad.data).tolist()

    def work(group, gpu):
        return sums(group, [slice(0, 1), slice(1, 3), slice(3, 4)][group.rank], [1, 2, 1])

    assert ranks(3, work) == [sums(Group(), slice(0, 4), [4])] * 3


def test_empty_parts(ranks):
    """A bucket with fewer numbers than there are ranks."""

    def work(group, gpu):
        sent = gpu.array(np.full((2, group.rank), 5.0))
        received = gpu.array(np.zeros(1))
        group.start_exchange(sent, received, [0, 1])()
        group.sum(gpu.array(np.zeros(0)))
        group.broadcast([])
        return received.tolist()

    assert ranks(2, work) == [[5.0], [5.0]]


def test_memory_lives_until_the_wait_is_over(ranks):
    """What follows the sum may be all that the caller keeps of it."""

    def work(group, gpu):
        whole = gpu.array(np.zeros(4))
        wait = group.start_collect(gpu.array([1.0, 2.0]), whole)
        gc.collect()
        wait()
        return whole.tolist()

    assert ranks(2, work) == [[1.0, 2.0, 1.0, 2.0]] * 2


def test_the_computing_stream_never_waits_for_another_rank(ranks):
    """Rank 1 fails before the sum; what rank 0 has can still be read. Only the end gives it up."""
    seen = []

    def work(group, gpu):
        if group.rank:
            raise KeyError("a lost image")
        weights = gpu.array([3.0])
        wait = group.start_sum(gpu.array(np.ones(2)))
        try:
            wait()
        except RankFailed as error:
            gpu.main.synchronize()
            seen.extend([str(error), weights.tolist(), gpu.communicator.over])
            with pytest.raises(SystemExit):
                group.end(error, "", 1)
            seen.append(gpu.communicator.over)

    with pytest.raises(KeyError):
        ranks(2, work)
    assert seen == ["rank 1: 'a lost image'", [3.0], None, "aborted"]


@pytest.mark.parametrize("broken", ["device", "network"])
def test_an_error_that_only_shows_later_ends_the_wait(ranks, broken):
    def work(group, gpu):
        if broken == "device":
            gpu.status = 700
        else:
            gpu.communicator.error = "remote process exited"
        group.start_sum(gpu.array(np.ones(2)))()

    with pytest.raises(CUDARuntimeError if broken == "device" else NcclError):
        ranks(2, work)


def test_each_rank_of_a_machine_takes_a_gpu(ranks):
    def in_another_order(group):
        group.comm.local_rank = 2 - group.rank
        return NCCLGroup(group)

    assert ranks(3, lambda group, gpu: gpu.number, in_another_order, Machine(4)) == [2, 1, 0]
    assert ranks(4, lambda group, gpu: gpu.number, DeviceGroup, Machine(2)) == [0, 1, 0, 1]


def wrong_machine(problem):
    if problem == "shared":
        return Machine(2), "NCCL: 2 ranks share GPU 0000:00:00.0 of .+; each needs its own"
    asked = threading.local()
    numbers = itertools.count()

    def loaded():  # by all but one
        asked.number = getattr(asked, "number", next(numbers))
        return asked.number != 1

    return Machine(3, loaded), "NCCL: rank . has none; on Linux, pip install nvidia-nccl-cu12"


@pytest.mark.parametrize("problem", ["shared", "missing"])
def test_where_nccl_cannot_work_all_ranks_know_and_mpi_takes_over(ranks, problem, capsys):
    machine, message = wrong_machine(problem)
    failed = []

    def alone(group):
        with pytest.raises(DeviceError, match=message):
            NCCLGroup(group)
        failed.append(group.rank)
        return group

    ranks(3, lambda group, gpu: None, make=alone, machine=machine)
    assert sorted(failed) == [0, 1, 2]

    machine, message = wrong_machine(problem)
    found = ranks(3, lambda g, gpu: (type(g), everything(g, gpu, "f4")), gpu_group, machine)
    warning = f"warning: {message}; until then gradients go over MPI\n"
    assert re.fullmatch(warning, capsys.readouterr().err)  # once
    assert {kind for kind, _ in found} == {DeviceGroup}
    check([results for _, results in found], "f4")


def test_nccl_where_each_has_a_gpu(ranks, capsys):
    assert ranks(2, lambda group, gpu: type(group), make=gpu_group) == [NCCLGroup] * 2
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("kinds", "direct"),
    [(None, False), ("mpi,system", False), ("system,cuda:managed", False),
     ("mpi,system,cuda", True), ("cuda:device,mpi,system", True)],
)  # fmt: skip
def test_mpi_gets_arrays_of_the_device_where_it_says_so(ranks, kinds, direct):
    given = []

    def work(group, gpu):
        inner = group.comm._begin
        group.comm._begin = lambda name, value, *more: (
            given.append(type(value)) if isinstance(value, np.ndarray) else None,
            inner(name, value, *more),
        )[1]
        return everything(group, gpu, "f4")

    check(ranks(2, work, make=DeviceGroup, kinds=kinds), "f4")
    assert len(given) == 12 and all((kind is not np.ndarray) == direct for kind in given)


PROGRAM = """
import sys
from fake_gpu import Machine
from test_nccl import check, everything
from tinyfcn.backend.cuda import device
from tinyfcn.cli.errors import plain_errors, use_backend
from tinyfcn.parallel import group, launch, mpi
device.installed = lambda: {"cupy-cuda12x": "14.2.0"}
mpi.PATIENCE = 60
with plain_errors():
    machine = Machine(int(sys.argv[1 + launch.start().rank]))
    sys.modules.update(machine.modules)
    use_backend("cupy")
    found = group().gather(everything(group(), machine.gpu, "f4"))
    check(found, "f4")
    print(type(group()).__name__, machine.gpu.number)
"""


@needs_mpi
def test_a_gpu_for_two_over_mpi():
    """What a command does; the NCCL of the stand-in is not for processes."""
    done = run_ranks(2, ["-c", PROGRAM, 1, 1])
    assert done.code == 0, done.stderr
    assert done.stdout == "DeviceGroup 0\n"
    assert re.search("^warning: NCCL: 2 ranks share GPU .+ MPI$", done.stderr, re.MULTILINE)


@needs_mpi
def test_a_rank_without_a_gpu_ends_all_at_once():
    done = run_ranks(2, ["-c", PROGRAM, 1, 0], timeout=40)
    assert done.code and not done.stdout.startswith("DeviceGroup"), done.stderr
    assert re.search("^error: rank 1: backend cupy: .*no device", done.stderr, re.MULTILINE)
