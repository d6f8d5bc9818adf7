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

from tinyfcn.parallel.group import Group, Value, Wait
from tinyfcn.tensor import Array

# Seconds that an error has to be heard by rank 0, rank 0 to save what was learnt, all to end then.
PATIENCE, SAVING, TOGETHER = 8.0, 600.0, 2.0
ERROR, BUSY = range(2)  # what is told of an error


class MPIGroup(Group):
    """The ranks of an MPI communicator; arrays are NumPy's.

    Args:
        comm: a communicator of mpi4py, which is duplicated.
        screen: where a rank says why it failed if rank 0 does not say so for it.
    """

    def __init__(self, comm: Any, screen: Any = sys.stderr) -> None:
        from mpi4py import MPI

        self._mpi, self.comm, self.screen = MPI, comm, screen
        # What is begun in one order on all ranks has a communicator of its own.
        self._arrays, self._objects, self._errors = (comm.Dup() for _ in range(3))
        self.rank, self.size = comm.rank, comm.size
        self._heard: Exception | None = None  # of another rank
        self._told: list[Any] = []  # requests of what is told of an error
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
        for other, (a, b) in enumerate(edges(counts)):
            if other == self.rank:
                received[a:b] = sent[other]
            else:
                requests.append(self._arrays.Irecv(received[a:b], other))
                requests.append(self._arrays.Isend(sent[other], other))
        return self._begun(requests, sent, received)

    def start_collect(self, part: Array, whole: Array) -> Wait:
        return self._begun([self._arrays.Iallgather(part, whole)], part, whole)

    def gather(self, value: Value) -> list[Value]:
        own = np.frombuffer(pickle.dumps(value), np.uint8)
        sizes = np.empty(self.size, np.int64)
        self._wait(self._objects.Iallgather(np.array([own.size]), sizes).Test)
        found = np.empty(sizes.sum(), np.uint8)
        self._wait(self._objects.Iallgatherv(own, [found, sizes.tolist()]).Test)
        return [pickle.loads(found[a:b].tobytes()) for a, b in edges(sizes.tolist())]

    def poke(self) -> None:
        """Any call lets MPI go on with what was begun."""
        if self._heard is None and self._errors.Iprobe(tag=ERROR):
            self._heard = self._errors.recv(tag=ERROR)
        if self._heard is not None:
            raise self._heard

    def end(self, error: Exception, message: str, status: int) -> NoReturn:
        """Where a rank does not come to its end in time, MPI ends them all."""
        together = False
        try:
            together = self._all_ended(error)
            if self.rank and not together and self._heard is None:
                print(f"rank {self.rank}: {message}", file=self.screen, flush=True)
        finally:
            if not together:
                self._mpi.COMM_WORLD.Abort(status)
        raise SystemExit(0 if self.rank else status)  # Open MPI ends the others after a failure

    def hold(self) -> None:
        self._tell(None, BUSY)

    def _tell(self, what: Any, tag: int) -> None:
        others = (rank for rank in range(self.size) if rank != self.rank)
        self._told += [self._errors.isend(what, rank, tag) for rank in others]

    def _all_ended(self, error: Exception) -> bool:
        """Tell the others of an error that they do not know; whether all of them ended in time."""
        if self._heard is None:
            error.args = f"rank {self.rank}: {error}", *error.args[1:]
            self._tell(error, ERROR)
        since, limit = time.monotonic(), PATIENCE if self.rank else TOGETHER
        ended = self._errors.Ibarrier()
        while not ended.Test():
            self._mpi.Request.Testall(self._told)
            if self._errors.Iprobe(0, BUSY):
                limit = SAVING
            if time.monotonic() > since + limit:
                return False
            time.sleep(0.01)
        return True

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


def edges(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Where pieces of these sizes begin and end, one behind the other."""
    return itertools.pairwise(itertools.accumulate(sizes, initial=0))
