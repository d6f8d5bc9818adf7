"""Receptive fields of random chains of ops, place by place."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import tinyfcn.functional as F
from tinyfcn import Tensor, backend
from tinyfcn.backend.meta import empty
from tinyfcn.receptive_field import SIGNS, Axis
from tinyfcn.receptive_field_rules import ReceptiveFields

RNG = np.random.default_rng(0)


def positive(*shape):
    return Tensor(RNG.uniform(0.5, 1.5, shape))


LINEAR = {
    "conv": lambda x, k, s: F.conv2d(x, positive(2, 2, 1, k), None, (1, s), (0, k // 2)),
    "dilated": lambda x, k, s: F.conv2d(x, positive(2, 2, 1, k), None, 1, 0, (1, s)),
    "up": lambda x, k, s: F.conv_transpose2d(x, positive(2, 2, 1, k), None, (1, s), (0, k // 3)),
    "mean": lambda x, k, s: F.avg_pool2d(x, (1, k), (1, s), (0, k // 2), ceil_mode=True),
    "slice": lambda x, k, s: x[..., k - 1 :: s],
    "repeat": lambda x, k, s: F.interpolate(x, scale_factor=(1, s)),
    "resize": lambda x, k, s: F.interpolate(x, scale_factor=(1, (s + 1) / 2), mode="bilinear"),
    "nails": lambda x, k, s: F.unpool_bed_of_nails(x, (1, s)),
    "cells": lambda x, k, s: cells(x, s),
    "pad": lambda x, k, s: F.pad(x, (k, s), "replicate"),
    "mirror": lambda x, k, s: x[..., ::-1],
    "channels": lambda x, k, s: F.cat([x[..., : -k or None], x[..., k:]], 1)[:, s - 1 : s + 1],
}


def cells(x, s):
    """Columns in groups of s as channels, of which one stays, with the next."""
    n, c, h, w = x.shape
    x = x[..., : w // s * s].reshape(n, c, h, w // s, s).permute(0, 1, 4, 2, 3)
    return x.reshape(n, c * s, h, w // s)[:, s - 1 : s + 1]


CHAINS = st.lists(
    st.tuples(st.sampled_from(sorted(LINEAR)), st.integers(1, 4), st.integers(1, 3)),
    min_size=1,
    max_size=4,
)


@given(CHAINS)
def test_chains_of_ops(depends_on, chain):
    """Place by place the interval is that of the gradient, but near the border."""

    def function(x):
        for name, k, s in chain:
            x = LINEAR[name](x, k, s)
        return x

    shape = (2, 1, 150)
    try:
        size = function(positive(1, *shape)).shape[3]
    except ValueError:  # an image that is too small
        assume(False)
    images = Tensor(empty((1, *shape), np.float64, ()))
    with backend.using("meta"), ReceptiveFields(images) as fields:
        field = fields.of(function(images))[1].reduced(1)
    numbers = np.arange(max(0, size // 2 - 12), min(size, size // 2 + 12))
    x = Tensor(RNG.uniform(0.5, 1.5, (len(numbers), *shape)), requires_grad=True)
    seen = depends_on(function(x), x, [(0, i) for i in numbers])[:, 0]
    reach = field.taken(3, numbers, Axis(len(numbers))).reach.reshape(-1, 2)
    firsts, lasts = (reach * SIGNS).T
    inside = [n for n in range(len(numbers)) if not (firsts[n] < 25 or lasts[n] > shape[2] - 26)]
    assume(inside)
    for n in inside:
        pixels = np.flatnonzero(seen[n])
        expected = (firsts[n], lasts[n])
        assert (pixels[[0, -1]] if pixels.size else (math.inf, -math.inf)) == pytest.approx(
            expected
        )
