"""Which pixels a pixel depends on, measured: by gradients, which are zero where nothing is seen."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinyfcn
from tinyfcn import Tensor, nn, summary

RNG = np.random.default_rng(0)


class Module(nn.Module):
    """A function as a user's own module."""

    def __init__(self, function):
        self.function = function
        self.float64 = nn.Parameter(np.zeros(1))

    def forward(self, x):
        return self.function(x)


def _depends_on(y, x, places):
    """Which pixels of image n the n-th of these places (row, column) of y[n] has a gradient for,
    over all channels: (places, H, W)."""
    seeds = np.zeros(y.shape)
    for n, (row, column) in enumerate(places):
        seeds[n, :, row, column] = RNG.uniform(0.5, 1.5, y.shape[1])
    (gradient,) = tinyfcn.grad(y, x, Tensor(seeds))
    return gradient.numpy().any(1)


def _measured(function, shape, axis, draws=1):
    """(size, stride) of fields along rows (axis 2) or columns (3), at places in the middle of the
    output. ``draws`` images are tried, for what depends on values."""
    size = function(Tensor(np.ones((2, *shape)))).shape
    start, other = size[axis] // 2 - 9, 6 if size[5 - axis] > 6 else 0
    places = [(i, other) if axis == 2 else (other, i) for i in range(start, start + 18)]
    seen = np.zeros((len(places), shape[axis - 1]), bool)
    for _ in range(draws):
        x = Tensor(RNG.normal(0, 1, (len(places), *shape)), requires_grad=True)
        seen |= _depends_on(function(x), x, places).any(4 - axis)
    ends = {i: np.flatnonzero(row)[[0, -1]] for i, row in enumerate(seen) if row.any()}
    # 12 places on every pattern begins anew.
    stride = next((ends[i + 12] - ends[i]).mean() / 12 for i in ends if i + 12 in ends)
    return max(last - first + 1 for first, last in ends.values()), abs(stride)


def _check(function, draws=1, dims=(0, 1, 2, 3)):
    """The summary of a function says what is measured; ``dims`` are the output's axes, as they must
    be permuted to (N, C, rows, columns)."""
    for axis, shape in ((2, (4, 72, 12)), (3, (4, 12, 72))):
        (layer,) = summary(Module(function), shape).layers
        size, stride = _measured(lambda x: function(x).permute(*dims), shape, axis, draws)
        assert layer.receptive_field[axis - 2] == (size if size < 72 else math.inf)
        if size < 72:
            assert layer.stride[axis - 2] == pytest.approx(stride)


@pytest.fixture(scope="session")
def depends_on():
    return _depends_on


@pytest.fixture(scope="session")
def check():
    return _check
