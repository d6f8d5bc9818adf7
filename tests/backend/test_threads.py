"""Blocks over threads: everything runs once, errors arrive, BLAS gets its threads back."""

import threading

import numpy as np
import pytest
import threadpoolctl
from hypothesis import given
from hypothesis import strategies as st

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
