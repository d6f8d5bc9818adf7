"""Ranks that share a batch train as one process does with all of it: in float64 to 1e-12."""

import functools
import threading

import pytest
import twenty_steps
from mpiexec import needs_mpi, run_ranks
from thread_group import on_ranks
from twenty_steps import CASES, alone, compare, model_of, shared

from tinyfcn.parallel import exchange

expected = functools.cache(lambda name: alone(CASES[name]))
MAKING = threading.Lock()  # of models: all threads draw from one source of random numbers


@pytest.mark.parametrize(
    ("name", "ranks"),
    [
        ("accumulated", 2), ("accumulated", 4), ("a last batch of one", 3), ("sum", 3),
        ("three losses", 3),
        ("no norm", 4), ("fixed shards", 2), ("cropped labels", 3), ("two losses", 2),
    ],
)  # fmt: skip
def test_ranks_end_as_one_process(name, ranks, monkeypatch):
    monkeypatch.setattr(exchange, "BUCKET_BYTES", 512)

    def rank(group):
        with MAKING:
            model = model_of(CASES[name])
        return shared(CASES[name], group, model)

    found = on_ranks(ranks, rank)
    compare(found, [expected(name)] * ranks)
    for key in found[0][1]:  # all have the same bits
        assert len({state[key].tobytes() for _, state in found}) == 1, key
    start = dict(model_of(CASES[name]).named_parameters())
    moved = [n for n, p in start.items() if (p.data != found[0][1][n]).any()]
    assert len(moved) > 0.6 * len(start)  # the others are frozen, unused, or behind a dead ReLU


@needs_mpi
def test_under_mpi():
    ended = run_ranks(4, [twenty_steps.__file__, "as it is"])
    assert ended.code == 0, ended.stderr
    assert ended.stdout.splitlines() == [f"{size} ranks end as one" for size in (2, 3, 4)]
