"""Sums over images and pixels."""

import numpy as np
import pytest

from tinyfcn.backend.cuda import channel_sums
from tinyfcn.backend.half import wide

SHAPES = [(1, 1, 1, 1), (2, 3, 5, 51), (1, 2, 16, 16), (3, 1, 1, 257), (2, 5, 130, 70),
          (700, 2, 1, 3), (1100, 3, 1, 1), (0, 3, 4, 4), (2, 0, 4, 4), (2, 3, 0, 4)]  # fmt: skip


@pytest.fixture(params=[True, False], ids=["whole", "in parts"])
def whole(request, monkeypatch):
    """Whether a block takes a channel where that has few parts."""
    if not request.param:
        monkeypatch.setattr(channel_sums, "WHOLE", 0)


@pytest.mark.parametrize("shape", SHAPES)
def test_sum_pixels(cuda, shape, stored, rng, within_rounding, whole):
    x = rng.standard_normal(shape).astype(stored)
    for array in (x, x[..., ::-1], np.asfortranarray(x)):
        got = cuda.sum_pixels(array)
        assert got.dtype == wide(x.dtype)
        exact = x.astype(np.float64)
        terms = x.size // max(shape[1], 1)
        within_rounding(got, exact.sum((0, 2, 3)), np.abs(exact).sum((0, 2, 3)), terms)


@pytest.mark.parametrize("shape", SHAPES)
def test_relu_and_bias(cuda, twin, numbers, same, stored, shape, monkeypatch):
    """The same bits whether a block takes a channel or a part of it."""
    gy, y = numbers(*shape, dtype=stored), numbers(*shape, dtype=stored)
    y[..., 1::3] = 0
    gx, sums = cuda.relu_bias_grad(gy, y)
    same(gx, twin.relu_grad(gy, y))
    same(sums, cuda.sum_pixels(gx))
    monkeypatch.setattr(channel_sums, "WHOLE", 0)
    for one, other in zip(cuda.relu_bias_grad(gy, y), (gx, sums), strict=True):
        same(one, other)


@pytest.mark.parametrize("parts", [1, 255, 256, 257, 600])
def test_totals_of_many_parts(cuda, parts, dtype, rng, within_rounding):
    sums, factors = rng.standard_normal((2, 3, parts)), rng.standard_normal(3).astype(dtype)
    for times in (None, factors):
        by = np.ones((2, 3))
        if times is not None:
            by[1] = times
        got = cuda.channel_totals(sums, times, dtype).reshape(2, 3)
        within_rounding(got, sums.sum(2) * by, np.abs(sums).sum(2) * np.abs(by), 1)


def test_every_access_is_allowed_and_none_is_dear(checked, rng, whole, stored):
    x = rng.standard_normal((2, 3, 60, 60)).astype(stored)
    checked.sum_pixels(x)
    checked.relu_bias_grad(x, x)
    for cost in checked.engine.profile():
        assert cost.factor <= 1.3, cost  # arrays here may begin inside a sector
