"""The simulation of many ranks against closed forms, and what it is fed with."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyfcn import models, nn
from tinyfcn.benchmark import scaling, work
from tinyfcn.benchmark.scaling import LINKS, RANKS, Link, Step
from tinyfcn.benchmark.work import Work
from tinyfcn.cli import benchmark
from tinyfcn.cli.errors import UsageError

INFINITE = Link("infinite", 0.0, math.inf)
TRAIN = Work("networks", "tiny train", work.train, {"n": 2, "h": 32, "w": 32, "width": 1 / 64})

seconds = st.floats(1e-6, 10.0)
links = st.builds(Link, st.just("link"), st.floats(0.0, 1e-2), st.floats(1e6, 1e12))
ranks = st.integers(1, 1024)


@st.composite
def steps(draw: Any) -> Step:
    buckets = draw(st.lists(st.tuples(seconds, st.floats(4.0, 1e9)), min_size=1, max_size=6))
    moments = itertools.accumulate(moment for moment, _ in buckets)
    sizes = [size for _, size in buckets]
    found = list(zip(moments, sizes, strict=True))
    return Step(found[-1][0] + draw(seconds), found)


@given(links, ranks, st.floats(4.0, 1e9))
def test_a_ring_sends_chunk_after_chunk(link: Link, n: int, size: float) -> None:
    """Round by round: n − 1 to sum and n − 1 to hand out, in each of which all send an n-th."""
    spent = math.fsum(link.latency + (size / n) / link.bandwidth for _ in range(2 * (n - 1)))
    assert link.all_reduce(size, n) == pytest.approx(spent)
    formula = 2 * (n - 1) * link.latency + 2 * (n - 1) / n * size / link.bandwidth
    assert link.all_reduce(size, n) == pytest.approx(formula)


@given(steps(), links, ranks)
def test_the_time_of_a_step(step: Step, link: Link, n: int) -> None:
    transfers = [link.all_reduce(size, n) for _, size in step.buckets]
    assert step.on(link, n, overlap=False) == pytest.approx(step.seconds + sum(transfers))
    # The last bucket has gone when, from some bucket on, none had to wait until it was complete.
    gone = max(moment + sum(transfers[i:]) for i, (moment, _) in enumerate(step.buckets))
    after_backward = step.seconds - step.buckets[-1][0]
    assert step.on(link, n) == pytest.approx(gone + after_backward)


@given(steps(), links, ranks)
def test_overlap_is_never_worse(step: Step, link: Link, n: int) -> None:
    rounding = 1 + 1e-12
    assert step.seconds <= step.on(link, n) * rounding
    assert step.on(link, n) <= step.on(link, n, overlap=False) * rounding
    assert sum(link.all_reduce(size, n) for _, size in step.buckets) <= step.on(link, n) * rounding


@given(steps(), links, ranks)
@pytest.mark.parametrize("overlap", [True, False])
def test_more_of_anything_is_never_better(overlap: bool, step: Step, link: Link, n: int) -> None:
    spent = step.on(link, n, overlap)
    more = [
        step.on(link, n + 1, overlap),
        step.on(Link("slow", link.latency, link.bandwidth / 2), n, overlap),
        step.on(Link("far", 2 * link.latency, link.bandwidth), n, overlap),
        Step(step.seconds, [(t, 2 * size) for t, size in step.buckets]).on(link, n, overlap),
    ]
    assert all(spent <= other * (1 + 1e-12) for other in more)
    assert step.assuming(1, half=True).on(link, n, overlap) <= spent * (1 + 1e-12)


@given(steps(), ranks)
def test_nothing_is_lost_alone_or_over_an_infinite_link(step: Step, n: int) -> None:
    for overlap in (True, False):
        assert step.efficiency(INFINITE, n, overlap) == 1.0
        assert all(step.efficiency(link, 1, overlap) == 1.0 for link in LINKS)
        assert step.limit(INFINITE, overlap) is None


def test_the_limit_is_where_the_efficiency_falls_under_80_percent() -> None:
    # With a latency alone, at the end: 1 / (1 + 2 (N − 1) · 0.01) < 0.8 from N = 13.51 on.
    step, link = Step(1.0, [(0.5, 8.0)]), Link("far", 0.01, math.inf)
    assert step.limit(link, overlap=False) == 14
    assert step.limit(link) == 14  # one bucket, complete at the end: nothing to overlap with
    # Two buckets; the first has half a second until backward ends, which is enough for 26 ranks.
    two = Step(1.0, [(0.5, 8.0), (1.0, 8.0)])
    assert two.limit(link, overlap=False) == 8  # 1 / (1 + 4 (N − 1) · 0.01)
    assert two.limit(link) == 14
    assert two.limit(Link("near", 1e-6, math.inf)) is None


def test_faster_ranks_and_half_of_the_bytes() -> None:
    step = Step(1.0, [(0.5, 8.0), (0.75, 4.0)])
    assert step.assuming(2.0, half=False) == Step(0.5, [(0.25, 8.0), (0.375, 4.0)])
    assert step.assuming(1.0, half=True) == Step(1.0, [(0.5, 4.0), (0.75, 2.0)])


def test_buckets_hold_all_gradients_in_the_order_of_backward(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = models.fcn8s(num_classes=work.CLASSES, width=1 / 64)
    learned = [p.data.nbytes for p in model.parameters() if p.requires_grad]
    whole = scaling.measure(TRAIN, 0.0, 3)
    assert [size for _, size in whole.buckets] == [sum(learned)] == [4 * nn.count_parameters(model)]

    monkeypatch.setattr(scaling, "BUCKET_BYTES", 0)
    single = scaling.measure(TRAIN, 0.0, 1)
    sizes = [size for _, size in single.buckets]
    assert sorted(sizes) == sorted(learned)
    assert sorted(sizes[-2:]) == sorted(learned[:2])  # those of the first layer are the last
    moments = [moment for moment, _ in single.buckets]
    assert 0 < moments[0] < moments[-1] < single.seconds
    assert moments == sorted(moments)

    monkeypatch.setattr(scaling, "BUCKET_BYTES", 4000)
    *full, _ = (size for _, size in scaling.measure(TRAIN, 0.0, 1).buckets)
    assert len(full) > 2
    assert all(4000 < size <= 4000 + max(learned) for size in full)


def test_of_all_steps_the_median_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 5.0, 10.0, 11.0, 20.0, 23.0])
    monkeypatch.setattr(scaling, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    idle = Work("", "idle", lambda library: lambda: None, {})
    assert scaling.measure(idle, 0.0, 3).seconds == 3.0


def test_what_is_measured_and_what_is_assumed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark, "WORK", [TRAIN, Work("ops", "tiny relu", work.relu, {})])
    monkeypatch.setattr(benchmark, "introduce", lambda side, seconds: ("", 1.0))
    step = Step(1.0, [(0.25, 8e6), (0.875, 24e6)])
    monkeypatch.setattr(scaling, "measure", lambda work, seconds, least: step)
    benchmark.main(["--scaling", "--half-exchange", "--faster", "2"])
    said = capsys.readouterr().out
    assert "tiny train, 2 images a rank\n" in said
    assert "relu" not in said
    measured = "1000.0 ms, 32.0 MB of gradients after ms (MB): 250 (8.0), 875 (24.0)"
    assert f"\nmeasured: {measured}\n" in said
    assert "\nassumed: ranks 2 times as fast, numbers sent as bfloat16" in said
    rows = {line.split()[0]: line.split()[1:] for line in said.splitlines() if line.strip()}
    assert rows["assumed"][:4] == ["50", "us", "0.125", "GB/s"]
    assert max(map(len, said.splitlines()[-len(RANKS) - 4 :])) < 80
    assert [int(n) for n in rows if n.isdecimal()] == RANKS
    ethernet, half = LINKS[0], step.assuming(2.0, half=True)
    assert rows["4"][0] == f"{1000 * half.on(ethernet, 4):.5g}"
    assert rows["4"][1:3] == [f"{half.efficiency(ethernet, 4, on):.0%}" for on in (True, False)]
    assert rows["1"] == ["500", "100%", "100%"] * len(LINKS)
    last = said.splitlines()[-1].split()
    assert last[3:5] == [str(half.limit(ethernet)), str(half.limit(ethernet, overlap=False))]


def test_the_list_is_of_training_steps(capsys: pytest.CaptureFixture[str]) -> None:
    benchmark.main(["--scaling", "--list"])
    names = [line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines()]
    assert names == [line.name for line in work.WORK if line.kind is work.train]
    assert len(names) >= 4


@pytest.mark.parametrize("more", ["--only relu", "--against torch", "--conv tiles", "--out here"])
def test_what_does_not_go_with_it(more: str) -> None:
    with pytest.raises(UsageError, match="--scaling: for training steps, without --against"):
        benchmark.main(["--scaling", *more.split()])
