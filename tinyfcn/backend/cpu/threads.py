"""Work in fixed blocks over one Python thread per core.

NumPy lets go of the interpreter lock inside matrix products and inside ufuncs on large arrays, so
plain Python threads use every core. Three rules keep this simple and repeatable:

* what a task computes depends on its item alone, never on the thread that runs it, so a result
  has the same bits for any number of threads;
* tasks write to disjoint memory; sums over tasks are added afterwards, in the order of the tasks;
* BLAS is held to one thread meanwhile, or its threads and ours would fight for the same cores.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import threadpoolctl

from tinyfcn.backend.setting import whole_number

# Elements of one element-wise NumPy call. Handing the interpreter over from thread to thread takes
# tens of microseconds; with short calls that is all they do.
BLOCK = 1 << 19

_blas = threadpoolctl.ThreadpoolController()
_blas_libraries = _blas.select(user_api="blas").lib_controllers
_lock = threading.Lock()
_former: list[int] = []  # BLAS threads before the outermost parallel_for
_depth = 0


def num_threads() -> int:
    """The number of threads to use: ``TINYFCN_NUM_THREADS``, else the CPUs of this process.

    Raises:
        SettingError: if the environment variable is not an integer from 1 to 4096.
    """
    chosen = whole_number("TINYFCN_NUM_THREADS", 0, most=4096)
    if not chosen and hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return chosen or os.cpu_count() or 1


@contextlib.contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Hold BLAS to one thread; the outermost exit, on any thread, restores what was set before."""
    global _former, _depth
    with _lock:
        if _depth == 0:
            _former = [library.num_threads for library in _blas_libraries]
            for library in _blas_libraries:
                library.set_num_threads(1)
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                for library, count in zip(_blas_libraries, _former, strict=True):
                    library.set_num_threads(count)


class _Thread(threading.local):
    working = False  # at a task, while BLAS is held


_thread = _Thread()


class _Job:
    """Numbered tasks that any thread may help with until all are handed out."""

    def __init__(self, task: Callable[[Any], Any], items: Sequence[Any]) -> None:
        self.task, self.items = task, items
        self.results: list[Any] = [None] * len(items)
        self.numbers = itertools.count()  # next() on it is atomic: each number is handed out once
        self.error: BaseException | None = None
        self.helping = 0
        self.closed = False
        self.finished = threading.Condition(threading.Lock())

    def work(self) -> None:
        outer = _thread.working
        try:
            _thread.working = True
            while self.error is None and (i := next(self.numbers)) < len(self.items):
                self.results[i] = self.task(self.items[i])
        except BaseException as error:
            self.error = error
        finally:
            _thread.working = outer

    def help(self) -> None:
        """A helper that comes too late goes away again, so that nobody has to wait for it."""
        with self.finished:
            if self.closed:
                return
            self.helping += 1
        self.work()
        with self.finished:
            self.helping -= 1
            self.finished.notify()

    def close(self) -> None:
        """Wait for the helpers that have begun."""
        with self.finished:
            self.closed = True
            while self.helping:
                self.finished.wait()
        if self.error is not None:
            raise self.error


_jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
_helpers: list[threading.Thread] = []


def _help_for_ever() -> None:
    while True:
        _jobs.get().help()


def _start_helpers(count: int) -> None:
    with _lock:
        while len(_helpers) < count:
            name = f"tinyfcn-{len(_helpers)}"
            _helpers.append(threading.Thread(target=_help_for_ever, name=name, daemon=True))
            _helpers[-1].start()


def parallel_for(task: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """Call ``task(item)`` for every item, spread over :func:`num_threads` threads; gives what the
    calls gave, in the order of the items.

    The caller's thread works too, so one thread means a plain loop. A task that has a single item
    for further tasks does it on the spot. The first exception of a task stops the others from
    starting and is raised here.

    Example:
        >>> parallel_for(lambda x: x * x, [0, 1, 2, 3])
        [0, 1, 4, 9]
    """
    if _thread.working and len(items) == 1:
        return [task(items[0])]
    helpers = min(num_threads(), len(items)) - 1
    if helpers <= 0:
        with single_threaded_blas():
            return [task(item) for item in items]
    _start_helpers(helpers)
    job = _Job(task, items)
    with single_threaded_blas():
        for _ in range(helpers):
            _jobs.put(job)
        try:
            job.work()
        finally:
            job.close()
    return job.results


def split(size: int, length: int) -> list[slice]:
    """Cut ``range(size)`` into slices of nearly equal size, none longer than ``length``.

    Example:
        >>> split(10, 4)
        [slice(0, 3, None), slice(3, 6, None), slice(6, 10, None)]
    """
    pieces = max(1, -(-size // max(1, length)))
    edges = [size * i // pieces for i in range(pieces + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]
