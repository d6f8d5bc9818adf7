"""Group: the processes that train one network together; here it is one process alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn, TypeVar

from tinyfcn.tensor import Array

Value = TypeVar("Value")
Wait = Callable[[], None]  # returns when what was begun is done


class Group:
    """All ranks call the same methods in the same order. Arrays are those of the active backend,
    contiguous, of the same shape and dtype on all ranks, and are changed in place.

    This class is the group of one process. In others a rank whose partner failed gets the error of
    that one from the method that it waits in.

    Attributes:
        rank: the number of this process, from 0.
        size: how many there are.
        local_rank, local_size: the same, of those on this machine.

    Example:
        >>> alone = Group()
        >>> alone.rank, alone.size, alone.gather("ready")
        (0, 1, ['ready'])
    """

    rank, size = 0, 1
    local_rank, local_size = 0, 1

    def broadcast(self, arrays: Sequence[Array]) -> None:
        """Make the arrays equal to those of rank 0."""

    def start_sum(self, array: Array) -> Wait:
        """Begin to sum an array over the ranks, each of which gets the same bits. Until the wait is
        over, its memory belongs to the sum. What is begun in one order ends in any."""
        return _done

    def start_exchange(self, sent: Array, received: Array, counts: Sequence[int]) -> Wait:
        """Begin to send each rank its row of ``sent`` (size, n), and to get a row from each.

        Args:
            sent: row i is for rank i; n may differ from rank to rank.
            received: (Σ counts,); what rank i sends comes in its order.
            counts: for each rank, the length of what it sends to this one.
        """
        received[:] = sent.reshape(-1)
        return _done

    def start_collect(self, part: Array, whole: Array) -> Wait:
        """Begin to put the parts of all ranks, of one size, one behind the other."""
        whole[:] = part
        return _done

    def gather(self, value: Value) -> list[Value]:
        """Small objects of all ranks, by rank, on each of them."""
        return [value]

    def __deepcopy__(self, memo: object) -> Group:
        """Itself: a copy of a layer that has it speaks with the same ranks."""
        return self

    def from_rank_0(self, function: Callable[[], Value]) -> Value:
        """The small object that ``function()`` gives on rank 0, where alone it is called."""
        value: Any = None if self.rank else function()
        return self.gather(value)[0]

    def poke(self) -> None:
        """Let what was begun go on, and see whether another rank failed."""

    def hold(self) -> None:
        """After an error, have the others wait for what this rank does before its end."""

    def end(self, error: Exception, message: str, status: int) -> NoReturn:
        """End this process after an error, and with it all others.

        Args:
            error: raised on the others, named by this rank.
            message: what the user is told if rank 0 does not do so in time.
            status: the exit status.
        """
        raise SystemExit(status)

    def sum(self, array: Array) -> None:
        """Sum an array over the ranks."""
        self.start_sum(array)()

    def mean(self, arrays: Sequence[Array]) -> None:
        """The mean over the ranks of many arrays, such as the gradients of a loop of one's own."""
        for wait, array in [(self.start_sum(array), array) for array in arrays]:
            wait()
            array /= self.size

    def barrier(self) -> None:
        """Wait until all ranks are here."""
        self.gather(None)

    @contextlib.contextmanager
    def rank_0_first(self) -> Iterator[None]:
        """The block runs on rank 0, and then on all others."""
        if self.rank:
            self.barrier()
        yield
        if not self.rank:
            self.barrier()


def _done() -> None:
    pass


class RankFailed(Exception):
    """Another rank ended with an error that is known by its text alone.

    Attributes:
        status: the exit status that it asked for.
    """

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


_current = Group()


def group() -> Group:
    """The ranks that train together: this process alone, where it was not started with others."""
    return _current


def use(group: Group) -> Group:
    """Make a group that of :func:`group`."""
    global _current
    _current = group
    return group
