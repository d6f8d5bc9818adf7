"""Group of the processes that ``mpiexec`` or ``srun`` has started, through mpi4py.

MPI is only ever asked whether it is done, never waited for: in between a rank sees that another one
failed, where a blocking call would hang for ever.
"""

from __future__ import annotations

import itertools
import pickle
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np

from tinyfcn.parallel.group import Group, RankFailed, Value, Wait
from tinyfcn.tensor import Array

PATIENCE = 5.0  # seconds that rank 0 has for saving what was learnt, after another rank failed


class MPIGroup(Group):
    """The ranks of an MPI communicator; arrays are NumPy's.

    Args:
        comm: a communicator of mpi4py, which is duplicated.
        screen: where a rank says why it failed if rank 0 does not say so for it.
    """

    _own_fault = True

    def __init__(self, comm: Any, screen: Any = sys.stderr) -> None:
        from mpi4py import MPI

        self._mpi, self._screen = MPI, screen
        # What is begun in one order on all ranks has a communicator of its own.
        self._arrays, self._objects, self._errors = (comm.Dup() for _ in range(3))
        self.rank, self.size = comm.rank, comm.size
        local = comm.Split_type(MPI.COMM_TYPE_SHARED)
        self.local_rank, self.local_size = local.rank, local.size

    def broadcast(self, arrays: Sequence[Array]) -> None:
        for array in arrays:
            self._wait(self._arrays.Ibcast(array).Test)

    def start_sum(self, array: Array) -> Wait:
        return self._begun([self._arrays.Iallreduce(self._mpi.IN_PLACE, array)], array)

    def start_exchange(self, sent: Array, received: Array, counts: Sequence[int]) -> Wait:
        # In pairs: MPICH's Ialltoallv takes 1.4 s instead of 0.02 for 64 MB where it is not waited
        # for without a pause.
        requests = []
        for other, (a, b) in enumerate(_edges(counts)):
            if other == self.rank:
                received[a:b] = sent[other]
            else:
                requests += [
                    self._arrays.Irecv(received[a:b], other),
                    self._arrays.Isend(sent[other], other),
                ]
        return self._begun(requests, sent, received)

    def start_collect(self, part: Array, whole: Array) -> Wait:
        return self._begun([self._arrays.Iallgather(part, whole)], part, whole)

    def gather(self, value: Value) -> list[Value]:
        own = np.frombuffer(pickle.dumps(value), np.uint8)
        sizes = np.empty(self.size, np.int64)
        self._wait(self._objects.Iallgather(np.array([own.size]), sizes).Test)
        found = np.empty(sizes.sum(), np.uint8)
        self._wait(self._objects.Iallgatherv(own, [found, sizes.tolist()]).Test)
        return [pickle.loads(found[a:b].tobytes()) for a, b in _edges(sizes.tolist())]

    def poke(self) -> None:
        """Any call lets MPI go on with what was begun."""
        if self._errors.Iprobe():
            self._own_fault = False
            raise RankFailed(*self._errors.recv())

    def end(self, message: str, status: int) -> NoReturn:
        """Rank 0 ends all at once; another tells it, and lets it save what was learnt."""
        if self.rank:
            said, others = (
                f"rank {self.rank}: {message}",
                range(self.size) if self._own_fault else (),
            )
            told = [self._errors.isend((said, status), r) for r in others if r != self.rank]
            limit = time.monotonic() + PATIENCE + (not self._own_fault)
            while time.monotonic() < limit:
                self._mpi.Request.Testall(told)
                time.sleep(0.01)
            print(said, file=self._screen, flush=True)
        self._mpi.COMM_WORLD.Abort(status)
        raise SystemExit(status)

    def _begun(self, requests: list[Any], *memory: Array) -> Wait:
        def wait(kept: Any = memory) -> None:  # MPI uses it until then
            self._wait(lambda: self._mpi.Request.Testall(requests))

        return wait

    def _wait(self, done: Callable[[], bool]) -> None:
        for number in itertools.count():
            if done():
                return
            self.poke()
            if number > 20:  # one that shares the core is let in
                time.sleep(5e-5)


def _edges(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Where pieces of these sizes begin and end, one behind the other."""
    return itertools.pairwise(itertools.accumulate(sizes, initial=0))
