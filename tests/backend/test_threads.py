"""Blocks over threads: everything runs once, errors arrive, BLAS gets its threads back."""

import concurrent.futures
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest
import threadpoolctl
from hypothesis import given
from hypothesis import strategies as st

import tinyfcn.functional as F
from tinyfcn import tensor
from tinyfcn.backend.cpu import threads


@pytest.mark.parametrize("count", ["1", "2", "3", "7"])
def test_every_task_runs_once(monkeypatch, count):
    monkeypatch.setenv("TINYFCN_NUM_THREADS", count)
    done = np.zeros(1000, int)

    def task(i):
        done[i] += 1
        return i

    assert threads.parallel_for(task, range(1000)) == list(range(1000))
    assert (done == 1).all()


def test_several_threads_take_part(monkeypatch):
    monkeypatch.setenv("TINYFCN_NUM_THREADS", "3")
    everybody = threading.Barrier(3, timeout=10)
    threads.parallel_for(lambda i: everybody.wait(), range(3))  # passes only if three run at once


@pytest.mark.parametrize("count", ["1", "3"])
def test_an_exception_stops_the_rest_and_is_raised(monkeypatch, count):
    monkeypatch.setenv("TINYFCN_NUM_THREADS", count)
    started = []

    def task(i):
        started.append(i)
        if i == 5:
            raise KeyError("task 5")

    with pytest.raises(KeyError, match="task 5"):
        threads.parallel_for(task, range(100_000))
    assert len(started) < 100_000


@pytest.mark.parametrize("count", ["1", "2", "3"])
def test_what_is_called_later_gives_its_result_or_its_error(monkeypatch, count):
    monkeypatch.setenv("TINYFCN_NUM_THREADS", count)
    results = [threads.later(lambda i=i: i * i) for i in range(50)]
    assert [result() for result in results] == [i * i for i in range(50)]
    failed = threads.later(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        failed()


def test_what_is_called_later_begins_at_once_and_helps_itself(monkeypatch):
    monkeypatch.setenv("TINYFCN_NUM_THREADS", "2")
    begun, both = threading.Event(), threading.Barrier(2, timeout=10)

    def function():
        begun.set()
        return threads.parallel_for(lambda i: both.wait() >= 0, range(2))  # needs the caller, too

    result = threads.later(function)
    assert begun.wait(10)
    until = time.monotonic() + 10
    while threads._jobs.empty() and time.monotonic() < until:
        time.sleep(0.001)
    assert result() == [True, True]


def test_no_more_than_a_few_wait_for_a_helper(monkeypatch):
    monkeypatch.setenv("TINYFCN_NUM_THREADS", "2")
    free, done = threading.Event(), []
    slow = [threads.later(lambda: free.wait(10)) for _ in range(threads.MOST_LATER)]
    at_once = threads.later(lambda: done.append(1) or True)
    assert done == [1]
    free.set()
    assert at_once() and all(result() for result in slow)


def test_what_nobody_asks_for_is_let_go(monkeypatch):
    monkeypatch.setenv("TINYFCN_NUM_THREADS", "2")
    array = np.zeros(3)
    gone = weakref.ref(array)
    results = [threads.later(lambda array=array: array.sum() == 0) for _ in range(3)]
    del array, results
    until = time.monotonic() + 10
    while gone() is not None and time.monotonic() < until:
        time.sleep(0.001)  # one may have begun
    assert gone() is None


def test_nested_calls_do_not_wait_for_each_other(monkeypatch):
    monkeypatch.setenv("TINYFCN_NUM_THREADS", "2")
    done = []
    once, eight = threads.parallel_for, range(8)
    once(lambda i: once(lambda j: done.append((i, j)), eight), eight)
    assert len(set(done)) == 64


def blas_threads():
    return {lib["num_threads"] for lib in threads._blas.info()}  # NumPy's own BLAS


@pytest.mark.parametrize("count", ["1", "2", "3"])
def test_a_single_item_of_a_task_stays_on_its_thread(monkeypatch, count):
    monkeypatch.setenv("TINYFCN_NUM_THREADS", count)

    def seen(item):
        return threading.get_ident(), blas_threads()

    def outer(item):
        return threading.get_ident(), threads.parallel_for(seen, [item])

    with threadpoolctl.threadpool_limits(2):
        for thread, [(inner, blas)] in threads.parallel_for(outer, range(8)):
            assert inner == thread
            assert blas == {1}
        with pytest.raises(KeyError):
            threads.parallel_for({}.__getitem__, [1, 2])
        assert threads.parallel_for(seen, [0]) == [(threading.get_ident(), {1})]  # held anew


def test_blas_is_held_to_one_thread_and_restored():
    with threadpoolctl.threadpool_limits(2):
        before = blas_threads()
        seen = []
        threads.parallel_for(lambda i: seen.append(blas_threads()), [0])
        assert seen == [{1}]
        with pytest.raises(KeyError):
            threads.parallel_for({}.__getitem__, [1])
        assert blas_threads() == before


def test_the_number_of_threads_is_checked(monkeypatch):
    monkeypatch.delenv("TINYFCN_NUM_THREADS", raising=False)
    assert threads.num_threads() >= 1
    for bad in ("0", "-1", "two", "1.5", ""):
        monkeypatch.setenv("TINYFCN_NUM_THREADS", bad)
        with pytest.raises(ValueError, match="TINYFCN_NUM_THREADS must be an integer"):
            threads.num_threads()


@given(st.integers(0, 500), st.integers(1, 60))
def test_the_pieces_cover_the_range_evenly(size, length):
    pieces = threads.split(size, length)
    assert [i for piece in pieces for i in range(size)[piece]] == list(range(size))
    sizes = [piece.stop - piece.start for piece in pieces]
    assert max(sizes) <= length
    assert max(sizes) - min(sizes) <= 1


def product():
    a = np.arange(12.0).reshape(3, 4)
    pieces = threads.parallel_for(lambda i: a[i : i + 1] @ a.T, range(3))
    return np.concatenate(pieces).tolist()


@pytest.mark.parametrize("count", ["1", "2", "3"])
def test_an_op_between_any_two_instructions_of_another(monkeypatch, count):
    """As a signal handler, a finalizer or a trace function may run one."""
    monkeypatch.setenv("TINYFCN_NUM_THREADS", count)
    before, wanted, seen, busy = blas_threads(), product(), [], []

    def trace(frame, event, _):
        if frame.f_code.co_filename == threads.__file__:
            frame.f_trace_opcodes = True
            if not busy:
                busy.append(True)
                seen.append(product())
                busy.clear()
            return trace
        return None

    former = sys.gettrace()
    sys.settrace(trace)
    try:
        found = product()
    finally:
        sys.settrace(former)
    assert found == wanted
    assert len(seen) > 200 and all(result == wanted for result in seen)
    assert (threads._depth, threads._former, blas_threads()) == (0, None, before)


def by_signal(again):
    former = signal.signal(signal.SIGALRM, again)
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    try:
        for _ in range(100):
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


def by_garbage(again):
    former = gc.get_threshold()
    gc.callbacks.append(again)
    gc.set_threshold(20)
    try:
        for _ in range(20):
            yield
    finally:
        gc.callbacks.remove(again)
        gc.set_threshold(*former)


def by_weakref(again):
    original = threads._Job.__init__

    def init(job, *arguments):
        original(job, *arguments)
        job.finalizer = weakref.finalize(job, again)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads._Job, "__init__", init)
        for _ in range(5):
            yield


def by_profile(again):
    sys.setprofile(again)
    try:
        for _ in range(3):
            yield
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize("moments", [by_signal, by_garbage, by_weakref, by_profile])
def test_a_convolution_in_the_midst_of_another(monkeypatch, moments, rng):
    monkeypatch.setenv("TINYFCN_NUM_THREADS", "3")
    x, w = (tensor(rng.standard_normal(s).astype("f")) for s in ((1, 8, 240, 240), (8, 8, 3, 3)))
    wanted, seen, inside = F.conv2d(x, w).numpy().tobytes(), [], threading.Lock()

    def again(*_):
        if inside.acquire(blocking=False):
            seen.append(F.conv2d(x, w).numpy().tobytes() == wanted)
            inside.release()

    for _ in moments(again):
        assert F.conv2d(x, w).numpy().tobytes() == wanted
    assert len(seen) > 4 and all(seen)


AT_EXIT = """
import atexit, sys
from tinyfcn.backend.cpu.threads import parallel_for
def square(x):
    return x * x
class Last:
    def __del__(self, parallel_for=parallel_for, square=square, say=sys.__stdout__.write):
        say(f"{parallel_for(square, [5, 6])}")
        sys.__stdout__.flush()
if "before" in sys.argv:
    parallel_for(square, range(3))
if "atexit" in sys.argv:
    atexit.register(lambda: print(parallel_for(square, [1, 2, 3]), end=" ", flush=True))
last = Last()
"""


@pytest.mark.parametrize("moments", [(), ("atexit",), ("before",), ("before", "atexit")])
def test_an_op_at_the_end_of_the_process(moments):
    variables = {**os.environ, "TINYFCN_NUM_THREADS": "3", "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        [sys.executable, "-c", AT_EXIT, *moments], env=variables, capture_output=True, text=True,
        timeout=20,
    )  # fmt: skip
    wanted = "[1, 4, 9] " * ("atexit" in moments) + "[25, 36]"
    assert (run.stdout, run.stderr) == (wanted, "")


def test_an_op_where_no_thread_can_be_started(monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setenv("TINYFCN_NUM_THREADS", "64")
    monkeypatch.setattr(threading.Thread, "start", start)
    assert threads.parallel_for(str, range(64)) == [str(i) for i in range(64)]


def test_an_error_while_it_waits_stops_the_others_first(monkeypatch):
    monkeypatch.setenv("TINYFCN_NUM_THREADS", "2")
    begun, ended, caller = threading.Event(), [], threading.get_ident()

    def task(item):
        if threading.get_ident() == caller:
            begun.wait(10)  # until a helper is at work
        else:
            begun.set()
            signal.pthread_kill(caller, signal.SIGINT)
            time.sleep(0.1)
        ended.append(item)

    with pytest.raises(KeyboardInterrupt):
        threads.parallel_for(task, range(100))
    assert len(ended) <= 2
    time.sleep(0.15)
    assert len(ended) <= 2  # nobody goes on


def test_eight_threads_at_once_give_the_same_bits(monkeypatch, rng):
    """And BLAS is held, whichever of them came first."""
    monkeypatch.setenv("TINYFCN_NUM_THREADS", "3")
    x, w, v = (
        tensor(rng.standard_normal(shape).astype("f"))
        for shape in ((1, 24, 33, 33), (40, 24, 3, 3), (700, 24 * 33 * 33))
    )

    def compute():
        y = F.conv2d(x, w, padding=1)
        with threads.single_threaded_blas():
            assert blas_threads() == {1}
        z = F.linear(x.reshape(1, -1), v)
        return y.numpy().tobytes() + z.numpy().tobytes() + F.softmax(y, 1).numpy().tobytes()

    wanted, before = compute(), blas_threads()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert {*pool.map(lambda _: compute(), range(32))} == {wanted}
    assert blas_threads() == before
