"""The group of threads that other tests stand on, and the group of one process."""

import time

import numpy as np
import pytest
from thread_group import on_ranks

from tinyfcn.parallel.group import Group, RankFailed


def everything(group):
    """Each method once; n is what a rank has to say."""
    n = float(group.rank + 1)
    ones = np.ones(3)
    shared = [np.full((2, 2), n), np.array(n)]
    group.broadcast(shared)
    late, early = np.full(3, n), np.full((2, 1), n, np.float32)
    waits = group.start_sum(late), group.start_sum(early)
    waits[1]()
    waits[0]()
    means = [ones * n, ones[:1] * n]
    group.mean(means)
    rows = np.arange(group.size)[:, None] * 10 + np.full(group.rank + 1, n)
    counts = [rank + 1 for rank in range(group.size)]
    received = np.empty(sum(counts))
    group.start_exchange(rows, received, counts)()
    whole = np.empty(2 * group.size, np.int64)
    group.start_collect(np.array([group.rank, 7]), whole)()
    group.barrier()
    return shared, late, early, means, received, whole, group.gather({"rank": group.rank})


@pytest.mark.parametrize("size", [1, 2, 3])
def test_every_method(size):
    made = on_ranks(size, everything)
    total = size * (size + 1) / 2
    for rank, (shared, late, early, means, received, whole, gathered) in enumerate(made):
        assert all((array == 1).all() for array in shared)
        assert (late == total).all() and (early == total).all() and early.dtype == np.float32
        assert all((mean == total / size).all() for mean in means)
        expected = [10 * rank + n for n in range(1, size + 1) for _ in range(n)]
        assert received.tolist() == expected
        assert whole.tolist() == [item for r in range(size) for item in (r, 7)]
        assert gathered == [{"rank": r} for r in range(size)]


def test_one_process_alone_gives_the_same_as_one_thread():
    (expected,) = on_ranks(1, everything)
    for found, wanted in zip(everything(Group()), expected, strict=True):
        np.testing.assert_equal(found, wanted)


def failing(group):
    if group.rank == 1:
        raise KeyError("a lost image")
    try:
        group.barrier()
    except RankFailed as error:
        assert str(error) == "rank 1: 'a lost image'" and error.status == 1
        raise


def another_method(group):
    group.start_sum(np.ones(2))() if group.rank else group.barrier()


def another_shape(group):
    group.start_sum(np.ones(2 + group.rank))()


def leaving_early(group):
    if group.rank:
        group.barrier()


def no_wait(group):
    group.start_sum(np.ones(2))


def used_too_early(group):
    sums = np.ones(2)
    wait = group.start_sum(sums)
    assert not np.isnan(sums).any(), "still NaN"
    wait()


def written_too_early(group):
    part = np.ones(2)
    wait = group.start_collect(part, np.empty(2 * group.size))
    part += 1
    wait()


def elsewhere(group):
    time.sleep(0.5) if group.rank else group.barrier()


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (failing, "a lost image"), (another_method, "differs"), (another_shape, "differs"),
        (leaving_early, "ended"), (no_wait, "not waited for"), (used_too_early, "still NaN"),
        (written_too_early, "written into"), (elsewhere, "elsewhere"),
    ],
)  # fmt: skip
def test_what_would_hang_or_differ_is_found(work, message):
    with pytest.raises((AssertionError, KeyError), match=message):
        on_ranks(2, work, patience=0.2 if work is elsewhere else 10.0)
