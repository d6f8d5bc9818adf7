"""Sums of gradients over shards and ranks: bit for bit, at the end or while backward goes on."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from thread_group import on_ranks

import tinyfcn
from tinyfcn import nn
from tinyfcn.backend.half import from_bfloat16, to_bfloat16
from tinyfcn.parallel import exchange
from tinyfcn.parallel.exchange import Exchange

# As large as 1e8 beside 1: another order of adding gives other bits.
MAGNITUDES = np.float32([1e8, -1e8, 1, 3e-5, 7])


def zeros(shape, order, dtype, gaps):
    """An array whose axes lie in memory in this order, maybe as a part of a larger one."""
    made = np.zeros([shape[axis] + gaps for axis in order], dtype).transpose(np.argsort(order))
    return made[tuple(slice(n) for n in shape)]


@st.composite
def layouts(draw):
    """Shape, memory order, dtype and gaps of some parameters."""
    shapes = draw(st.lists(st.lists(st.sampled_from([1, 1, 2, 3, 5, 0]), max_size=4), max_size=6))
    return [
        (shape, draw(st.permutations(range(len(shape)))), draw(st.sampled_from("ffd")),
         draw(st.integers(0, 1)))
        for shape in shapes
    ]  # fmt: skip


counts_of_shards = st.lists(st.integers(1, 3), min_size=1, max_size=4)


def rounded(x):
    return from_bfloat16(to_bfloat16(x.reshape(-1))).reshape(x.shape)


@given(
    layouts(), counts_of_shards, st.integers(0, 100), st.sampled_from(["plain", "order", "half"])
)
def test_sums_are_those_of_all_shards_in_their_order(layout, counts, bucket, kind):
    if kind == "plain":
        counts = [1] * len(counts)
    rng = np.random.default_rng(0)
    gradients = [
        [rng.permutation(np.resize(MAGNITUDES, np.prod(shape, dtype=int))).reshape(shape)
         if rng.random() < 0.8 or not shard else None for shape, *_ in layout]
        for shard in range(sum(counts))
    ]  # fmt: skip
    ends = list(itertools.accumulate(counts, initial=0))

    def rank(group):
        parameters = [nn.Parameter(zeros(*one)) for one in layout]
        sums = Exchange(parameters, group, counts, kind != "plain", kind == "half")
        own = gradients[ends[group.rank] : ends[group.rank + 1]]
        for _ in range(2):
            sums.finish([
                {p: g for p, g in zip(parameters, shard, strict=True) if g is not None}
                for shard in own
            ])  # fmt: skip
        for p, (_, order, _, _) in zip(parameters, layout, strict=True):
            strides = [p.grad.data.strides[axis] for axis in order if p.shape[axis] > 1]
            assert strides == sorted(strides, reverse=True) or not p.size
        return [p.grad.numpy() for p in parameters]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exchange, "BUCKET_BYTES", bucket)
        found = on_ranks(len(counts), rank)
    send = rounded if kind == "half" else np.asarray
    for number, (shape, _, dtype, _) in enumerate(layout):
        total = np.zeros(shape, np.float32 if kind == "half" else dtype)
        for shard in gradients:
            if shard[number] is not None:
                total += send(shard[number])
        for sums in found:
            assert sums[number].dtype == dtype and sums[number].shape == tuple(shape)
            np.testing.assert_array_equal(sums[number], send(total))


class Chain(nn.Module):
    """Layers of which one stands twice in it, one is unused, and one stands alone at the end."""

    def __init__(self):
        tinyfcn.manual_seed(0)
        self.layers = nn.Sequential(*[nn.Linear(6, 6) for _ in range(8)])
        self.twice, self.unused = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x, twice=True):
        x = self.layers(x)
        return self.twice(self.twice(x)) if twice else x


class Noted(Exchange):
    """Notes what is begun, and each op of a backward pass."""

    def backward(self, function, run, *gradients):
        self.notes.append("op")
        return super().backward(function, run, *gradients)

    def start_total(self, rows, half=False):
        self.notes.append("sum")
        return super().start_total(rows, half)


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("kind", ["plain", "order", "half"])
@pytest.mark.parametrize("batches", [1, 2])
def test_early_and_late_give_the_same_bits(batches, kind, twice, monkeypatch, rng):
    monkeypatch.setattr(exchange, "BUCKET_BYTES", 150)
    x = rng.standard_normal((3, batches, 4, 6)).astype("f4")
    start = Chain().state_dict()

    def rank(group):
        model = Chain()
        model.load_state_dict(start)
        parameters = list(model.parameters())
        sums = Noted(parameters, group, [1] * 3, kind != "plain", kind == "half")
        steps = []
        for step in range(3):
            sums.notes = []
            with sums:
                for number, images in enumerate(x[group.rank]):
                    sums.early = number == batches - 1 and step != 1
                    model(tinyfcn.tensor(images), twice).sum().backward()
            before = "".join(note[0] for note in sums.notes)
            sums.finish([{p: p.grad.data for p in parameters if p.grad is not None}])
            assert 4 < sums.notes.count("sum") < 12  # of 16 parameters or more
            steps.append([p.grad.numpy().tobytes() for p in parameters if p.grad is not None])
            assert model.unused.weight.grad is None and not sums.early
            model.zero_grad()
            if step < 2:
                assert "s" not in before
            else:  # between ops; what is used twice comes first here, and holds the others up
                assert ("soo" in before) == (not twice), before
        assert steps[0] == steps[1] == steps[2]
        return steps[0]

    first, *others = on_ranks(3, rank)
    assert all(other == first for other in others)


def _finite(bits):
    """The float64 value of bfloat16 numbers, from sign, exponent and fraction; 2^128 for inf."""
    bits = bits.astype(np.int64)
    exponent, fraction = (bits >> 7) & 0xFF, bits & 0x7F
    size = np.ldexp(fraction + np.where(exponent > 0, 128.0, 0.0), np.maximum(exponent, 1) - 134)
    return np.where(bits >> 15, -size, size)


def test_bfloat16_is_rounded_to_the_nearest_even():
    upper = np.arange(1 << 16, dtype=np.uint32)[:, None]
    lower = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    x = (upper << 16 | lower).view(np.float32)
    found = to_bfloat16(x)
    assert found.dtype == np.uint16 and found.shape == x.shape
    number = np.isfinite(x)
    value, below = x[number].astype(float), np.broadcast_to(upper, x.shape)[number]
    up, down = abs(_finite(below + 1) - value), abs(value - _finite(below))
    away = (up < down) | ((up == down) & (below % 2 == 1))
    np.testing.assert_array_equal(found[number], below + away)
    np.testing.assert_array_equal(from_bfloat16(found[:, 0]), np.where(
        np.isnan(x[:, 0]), np.nan, x[:, 0]
    ))  # fmt: skip
    exact = np.abs(x[:, 0]) < np.inf
    np.testing.assert_array_equal(
        from_bfloat16(upper[exact, 0].astype("u2")), _finite(upper[exact, 0])
    )


def test_bfloat16_of_what_is_no_number():
    payloads = np.arange(1, 1 << 16, dtype=np.uint32)
    for first in (0x7F80_0000, 0xFF80_0000, 0x7FFF_0000, 0xFFFF_0000, 0x7FC0_0000):
        nan = (first | payloads).view(np.float32)
        assert np.isnan(from_bfloat16(to_bfloat16(nan))).all()
    large = np.float32([np.inf, -np.inf, 3.4e38, -3.4e38])
    np.testing.assert_array_equal(rounded(large), [np.inf, -np.inf, np.inf, -np.inf])
    np.testing.assert_array_equal(to_bfloat16(np.array([1e-45, -0.0, 1.0])), [0, 0x8000, 0x3F80])
