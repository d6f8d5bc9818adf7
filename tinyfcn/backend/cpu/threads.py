"""Work in fixed blocks over one Python thread per core.

NumPy lets go of the interpreter lock inside matrix products and inside ufuncs on large arrays, so
plain Python threads use every core. Three rules keep this simple and repeatable:

* what a task computes depends on its item alone, never on the thread that runs it, so a result
  has the same bits for any number of threads;
* tasks write to disjoint memory; sums over tasks are added afterwards, in the order of the tasks;
* BLAS is held to one thread meanwhile, or its threads and ours would fight for the same cores.

An op may begin anywhere: on several threads at once; in a signal handler or a finalizer, between
any two lines here; in the child of a fork, where no other thread lives on; and at the end of the
process, when none can be started. So nobody ever waits for a helper that has not begun, and the
state may be met half changed by the same thread.
"""

from __future__ import annotations

import contextvars
import itertools
import os
import queue
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import threadpoolctl

from tinyfcn.backend.setting import whole_number

# Elements of one element-wise NumPy call. Handing the interpreter over from thread to thread takes
# tens of microseconds; with short calls that is all they do.
BLOCK = 1 << 19

Place = tuple[slice, slice]  # images and rows

_blas = threadpoolctl.ThreadpoolController()
_blas_libraries = _blas.select(user_api="blas").lib_controllers
_lock = threading.RLock()
_former: list[int] | None = None  # BLAS threads before it was held
_depth = 0  # who holds it, on all threads


class _Thread(threading.local):
    working = False  # at a task, while BLAS is held
    depth = 0  # how often it holds BLAS itself


_thread = _Thread()


def num_threads() -> int:
    """The number of threads to use: ``TINYFCN_NUM_THREADS``, else the CPUs of this process.

    Raises:
        SettingError: if the environment variable is not an integer from 1 to 4096.
    """
    chosen = whole_number("TINYFCN_NUM_THREADS", 0, most=4096)
    if not chosen and hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return chosen or os.cpu_count() or 1


def _set_blas_threads(counts: Iterable[int]) -> None:
    for library, count in zip(_blas_libraries, counts, strict=False):
        # The public method of threadpoolctl 3.7 and later obeys one thread only.
        getattr(library, "_real_set_num_threads", library.set_num_threads)(count)


class single_threaded_blas:
    """Hold BLAS to one thread; the outermost exit, on any thread, restores what was set before.

    A task has nothing to do: whoever waits for it holds BLAS already.
    """

    def __enter__(self) -> None:
        global _former, _depth
        if _thread.working:
            return
        with _lock:
            # In this order a signal handler may hold and restore it between any two lines.
            _thread.depth += 1
            _depth += 1
            if _former is None:
                found = [library.num_threads for library in _blas_libraries]
                _former = _former or found
            _set_blas_threads(itertools.repeat(1))

    def __exit__(self, *error: object) -> None:
        global _former, _depth
        if _thread.working:
            return
        with _lock:
            former = _former or []
            _thread.depth -= 1
            _depth -= 1
            if _depth == 0:
                _set_blas_threads(former)
                _former = None


class _Job:
    """Numbered tasks that any thread may help with until all are handed out."""

    def __init__(
        self, task: Callable[[Any], Any], items: Sequence[Any], inner: bool = True
    ) -> None:
        self.task, self.items, self.inner = task, items, inner
        self.results: list[Any] = [None] * len(items)
        self.numbers = itertools.count()  # next() on it is atomic: each number is handed out once
        self.error: BaseException | None = None
        self.helping = 0
        self.closed = False
        self.done = False  # if it has one item
        self.process = os.getpid()
        self.context = contextvars.copy_context()  # such as of np.errstate
        self.finished = threading.Condition(threading.Lock())

    def work(self) -> None:
        outer = _thread.working
        try:
            _thread.working = outer or self.inner
            while self.error is None and (i := next(self.numbers)) < len(self.items):
                self.results[i] = self.task(self.items[i])
        except BaseException as error:
            self.error = error
        finally:
            _thread.working = outer
            self.done = True

    def help(self) -> None:
        """A helper that comes too late goes away again, so that nobody has to wait for it."""
        with self.finished:
            if self.closed:
                return
            self.helping += 1
        self.context.copy().run(self.work)
        with self.finished:
            self.helping -= 1
            self.finished.notify()

    def close(self) -> None:
        """Wait for the helpers that have begun."""
        with self.finished:
            self.closed = True
            while self.helping and self.process == os.getpid():
                try:
                    self.finished.wait(1)  # a fork in the meantime wakes nobody
                except BaseException as error:  # of a signal handler: the others shall stop
                    self.error = error
            if self.helping:
                self.error = RuntimeError("a fork in the midst of an op: its result is lost here")
        if self.error is not None:
            raise self.error


# Weak, so that what comes too late for a helper keeps no arrays.
_jobs: queue.SimpleQueue[weakref.ref[_Job]] = queue.SimpleQueue()
_helpers: list[threading.Thread] = []


def _help_for_ever() -> None:
    while True:
        if job := _jobs.get()():
            job.help()
        del job  # a helper that waits keeps no arrays


def _start_helpers(count: int) -> int:
    """How many helpers there are, up to ``count``; without a lock, so there may be one too many."""
    while len(_helpers) < count and not sys.is_finalizing():
        name = f"tinyfcn-{len(_helpers)}"
        helper = threading.Thread(target=_help_for_ever, name=name, daemon=True)
        try:
            helper.start()
        except RuntimeError:  # no more threads, or none any more
            break
        _helpers.append(helper)
    return min(count, len(_helpers))


def _after_fork() -> None:
    """In the child only the thread that forked lives on: others, and what they held, are gone."""
    global _lock, _jobs, _former, _depth
    _lock, _jobs, _depth = threading.RLock(), queue.SimpleQueue(), _thread.depth
    _helpers.clear()
    if _depth == 0:
        _thread.working = False  # a helper no longer, if it was one
        _set_blas_threads(_former or [])
        _former = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _lock.acquire() and None,  # BLAS would be left with a lock of its own held
        after_in_parent=lambda: _lock.release(),
        after_in_child=_after_fork,
    )


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
    helpers = _start_helpers(min(num_threads(), len(items)) - 1) if len(items) > 1 else 0
    with single_threaded_blas():
        if helpers <= 0:
            return [task(item) for item in items]
        job = _Job(task, items)
        for _ in range(helpers):
            _jobs.put(weakref.ref(job))
        try:
            job.work()
        finally:
            job.close()
    return job.results


MOST_LATER = 4  # each keeps its inputs in memory
_later: list[weakref.ref[_Job]] = []


def later(function: Callable[[], Any]) -> Callable[[], Any]:
    """Have ``function()`` called beside what the caller does next; what is given, called, waits for
    it and gives its result. Whoever has nothing else to do does it: a helper, or the caller then.
    An op that few wait for fills the gaps of all others so, where the threads wait for each other.

    Example:
        >>> square = later(lambda: 3 * 3)
        >>> square()
        9
    """
    job = _Job(lambda _: function(), (None,), inner=False)
    _later[:] = [other for other in _later if (it := other()) and not it.done]
    if len(_later) < MOST_LATER and _start_helpers(num_threads() - 1):
        _later.append(weakref.ref(job))
        _jobs.put(_later[-1])
    else:
        job.work()

    def result() -> Any:
        job.work()
        while job.helping:  # it has begun: help with its parts
            try:
                other = _jobs.get_nowait()()
            except queue.Empty:
                break
            if other is not None:
                other.help()
        job.close()
        return job.results[0]

    return result


def split(size: int, length: int) -> list[slice]:
    """Cut ``range(size)`` into slices of nearly equal size, none longer than ``length``.

    Example:
        >>> split(10, 4)
        [slice(0, 3, None), slice(3, 6, None), slice(6, 10, None)]
    """
    pieces = max(1, -(-size // max(1, length)))
    edges = [size * i // pieces for i in range(pieces + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


def places(n: int, height: int, length: int) -> list[Place]:
    """Cut n images into parts of at most ``length`` rows: several images, or a band of one.

    Example:
        >>> places(3, height=4, length=8)
        [(slice(0, 1, None), slice(0, 4, None)), (slice(1, 3, None), slice(0, 4, None))]
    """
    images, rows = split(n, length // height), split(height, length)
    return [*itertools.product(images, rows)] if n else []
