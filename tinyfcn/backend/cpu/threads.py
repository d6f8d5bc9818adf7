"""Work in fixed blocks over one Python thread per core.

NumPy lets go of the interpreter lock inside matrix products and inside ufuncs on large arrays, so
plain Python threads use every core. Three rules keep this simple and repeatable:

* what a task computes depends on its number alone, never on the thread that runs it, so a result
  has the same bits for any number of threads;
* tasks write to disjoint memory; sums over tasks are added afterwards, in the order of the tasks;
* BLAS is held to one thread meanwhile, or its threads and ours would fight for the same cores.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait

import threadpoolctl

_blas = threadpoolctl.ThreadpoolController()
_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_pool_size = 0
_limit = None
_depth = 0


def num_threads() -> int:
    """The number of threads to use: ``TINYFCN_NUM_THREADS``, else the CPUs of this process.

    Raises:
        ValueError: if the environment variable is not a whole number above zero.
    """
    text = os.environ.get("TINYFCN_NUM_THREADS")
    if text is None:
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"TINYFCN_NUM_THREADS must be a whole number above 0, got {text!r}")
    return int(text)


@contextlib.contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Hold BLAS to one thread; the outermost exit, on any thread, restores what was set before."""
    global _limit, _depth
    with _lock:
        if _depth == 0:
            _limit = _blas.limit(limits=1, user_api="blas")
            _limit.__enter__()
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0 and _limit is not None:
                _limit.__exit__(None, None, None)


def _workers(count: int) -> ThreadPoolExecutor:
    global _pool, _pool_size
    with _lock:
        if _pool is None or _pool_size < count:
            _pool = ThreadPoolExecutor(count, thread_name_prefix="tinyfcn")
            _pool_size = count
        return _pool


def parallel_for(task: Callable[[int], None], count: int) -> None:
    """Call ``task(0) … task(count - 1)``, spread over :func:`num_threads` threads.

    The caller's thread works too, so one thread means a plain loop. The first exception of a task
    stops the others from starting and is raised here.

    Example:
        >>> squares = [0] * 4
        >>> def task(i):
        ...     squares[i] = i * i
        >>> parallel_for(task, 4)
        >>> squares
        [0, 1, 4, 9]
    """
    threads = min(num_threads(), count)
    with single_threaded_blas():
        if threads <= 1:
            for i in range(count):
                task(i)
            return
        numbers = itertools.count()  # next() on it is atomic: each number is handed out once
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set() and (i := next(numbers)) < count:
                try:
                    task(i)
                except BaseException:
                    stop.set()
                    raise

        helpers = [_workers(threads - 1).submit(work) for _ in range(threads - 1)]
        try:
            work()
        finally:
            # A helper that has not started by now has nothing left to do; waiting for it could
            # block for ever if every thread of the pool is itself inside a parallel_for.
            running = [helper for helper in helpers if not helper.cancel()]
            wait(running)
        for helper in running:
            helper.result()


def blocks(size: int, length: int) -> list[slice]:
    """Cut ``range(size)`` into slices of nearly equal size, none longer than ``length``.

    Example:
        >>> blocks(10, 4)
        [slice(0, 3, None), slice(3, 6, None), slice(6, 10, None)]
    """
    pieces = max(1, -(-size // max(1, length)))
    edges = [size * i // pieces for i in range(pieces + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]
