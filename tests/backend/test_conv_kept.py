"""Transformed kernels are kept while the weights are the same, and no change of them is missed."""

import gc

import numpy as np
import pytest

from tinyfcn.backend.cpu.conv.kept import CALLS, Kept, keeping
from tinyfcn.backend.cpu.conv.window import Finish, Window
from tinyfcn.backend.cpu.conv.winograd import Winograd

SHAPE = 65, 3, 3, 8


@pytest.fixture
def made():
    """How often something was made of weights."""
    return []


@pytest.fixture
def kept(made):
    def make(weight):
        made.append(weight.shape)
        return 2 * weight

    return Kept(make)


def call(kept, weight, times=CALLS):
    for _ in range(times):
        np.testing.assert_array_equal(kept(weight.view()), 2 * weight)


@pytest.fixture
def weight(rng):
    return rng.normal(size=SHAPE).astype(np.float32)


def test_the_same_weights_are_transformed_no_more(kept, made, weight):
    call(kept, weight)
    call(kept, weight)
    assert len(made) == CALLS


@pytest.mark.parametrize("place", [0, 1, -1, SHAPE[-1] * 100 + 5])
@pytest.mark.parametrize("value", [7.0, np.nan, np.inf, -0.0])
def test_no_change_is_missed(kept, weight, place, value):
    earlier = weight.reshape(-1)
    earlier[place] = 0
    call(kept, weight)
    earlier[place] = value
    call(kept, weight, times=1)
    assert np.signbit(kept(weight).reshape(-1)[place]) == np.signbit(value)


def test_nan_is_not_always_a_change(kept, made, weight):
    weight[3] = np.nan
    call(kept, weight)
    call(kept, weight)
    assert len(made) == CALLS


def test_weights_that_change_all_the_time_are_not_kept(kept, made, weight):
    for _ in range(2 * CALLS):
        weight += 1
        call(kept, weight, times=1)
    assert len(made) == 2 * CALLS
    assert all(entry.kept is None for entry in kept.entries.values())


def test_what_is_kept_goes_with_the_weights(kept):
    weight = np.ones(SHAPE, np.float32)
    call(kept, weight)
    assert kept.entries
    del weight
    gc.collect()
    assert not kept.entries


def test_it_can_be_turned_off(kept, made, weight):
    with keeping.using("0"):
        call(kept, weight, times=2 * CALLS)
    assert len(made) == 2 * CALLS and not kept.entries


@pytest.mark.parametrize("size", [0, 40])
def test_results_have_the_same_bits(rng, size):
    x, weight = rng.normal(size=(1, 12, 13, 48)), rng.normal(size=(size, 3, 3, 48))
    x, weight = x.astype(np.float32), weight.astype(np.float32)
    algorithm, window, found = Winograd(2), Window((1, 1), (1, 1), (1, 1)), []
    for _ in range(CALLS + 1):
        found.append(np.empty((1, 12, 13, size), np.float32))
        algorithm.forward(x, weight, Finish(), window, found[-1])
    assert len({y.tobytes() for y in found}) == 1
