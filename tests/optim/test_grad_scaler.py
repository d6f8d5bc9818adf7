"""Loss scaling: exact where all is finite, a step left out where it is not."""

import numpy as np
import pytest

import tinyfcn
from tinyfcn import Tensor
from tinyfcn.optim import SGD, GradScaler


def step(w, scaler, optimizer, factor):
    """One step from the loss factor · w."""
    optimizer.zero_grad()
    scaler.scale((w * factor).sum()).backward()
    finite = scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    return finite


def parameter(value=1.0):
    return tinyfcn.tensor([value, value], requires_grad=True)


def test_scaled_steps_have_the_bits_of_others():
    values, factor = [], np.float32([0.1, -3.7])
    for enabled in (True, False):
        w = parameter()
        optimizer, scaler = SGD([w], lr=0.3), GradScaler(enabled=enabled)
        assert all(step(w, scaler, optimizer, Tensor(factor)) for _ in range(5))
        values.append(w.numpy().tobytes())
    assert values[0] == values[1]


def test_small_gradients_survive_float16():
    x = np.full((1, 1, 1, 1), 1, np.float16)
    found = {}
    for scaler in (GradScaler(), GradScaler(enabled=False)):
        weight = tinyfcn.tensor([[[[1.0]]]], requires_grad=True)
        y = tinyfcn.functional.conv2d(Tensor(x), weight)
        loss = tinyfcn.functional.cross_entropy(
            tinyfcn.functional.cat([y * 0, y], 1), np.ones((1, 1, 1), int), reduction="sum"
        )
        scaler.scale(loss * 1e-9).backward()
        scaler.unscale_(SGD([weight], lr=1.0))
        found[scaler.enabled] = weight.grad.item()
    assert found[False] == 0
    assert found[True] == pytest.approx(-1e-9 / (1 + np.e), rel=2**-8)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_a_step_with_one_gradient_that_is_not_finite_is_left_out(bad):
    w, other = parameter(), parameter()
    optimizer, scaler = SGD([w, other], lr=1.0), GradScaler(2.0**4)
    other.grad = Tensor(np.float32([1.0, 2.0]))
    w.grad = Tensor(np.float32([1.0, bad]))
    assert not scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    np.testing.assert_array_equal([*w.numpy(), *other.numpy()], 1)
    assert scaler.get_scale() == 2.0**3
    assert step(w, scaler, optimizer, 1.0)
    np.testing.assert_array_equal(w.numpy(), 0)


def test_the_scale_grows_after_so_many_good_steps_in_a_row():
    w = parameter()
    optimizer, scaler = SGD([w], lr=0.0), GradScaler(8.0, 4.0, 0.5, growth_interval=2)
    scales = []
    for factor in (1, np.nan, 1, 1, 1, np.inf, 1):
        step(w, scaler, optimizer, float(factor))
        scales.append(scaler.get_scale())
    assert scales == [8, 4, 4, 16, 16, 8, 8]


def test_gradients_of_0_do_not_make_it_infinite():
    w = parameter()
    optimizer, scaler = SGD([w], lr=0.0), GradScaler(2.0**126, growth_interval=1)
    for _ in range(3):
        assert step(w, scaler, optimizer, 0.0)
    assert scaler.get_scale() == 2.0**127


def test_gradients_are_unscaled_once_a_step():
    w = parameter()
    optimizer, scaler = SGD([w], lr=1.0), GradScaler(4.0)
    scaler.scale(w.sum()).backward()
    assert scaler.unscale_(optimizer)
    assert scaler.unscale_(optimizer)
    np.testing.assert_array_equal(w.grad.numpy(), 1)


def test_a_saved_state_goes_on():
    scaler, again = GradScaler(32.0, growth_interval=3), GradScaler(growth_interval=3)
    w = parameter()
    optimizer = SGD([w], lr=0.0)
    step(w, scaler, optimizer, 1.0)
    again.load_state_dict(scaler.state_dict())
    for one in (scaler, again):
        step(w, one, optimizer, 1.0)
        step(w, one, optimizer, 1.0)
    assert scaler.get_scale() == again.get_scale() == 64
    again.load_state_dict({})
    assert again.get_scale() == 64
    with pytest.raises(ValueError, match="GradScaler: scale cannot be 0"):
        again.load_state_dict({"scale": 0.0, "_growth_tracker": 1})


@pytest.mark.parametrize("wrong", [{"init_scale": 0.0}, {"growth_factor": 0.5},
                                   {"backoff_factor": 1.0}])  # fmt: skip
def test_impossible_factors(wrong):
    with pytest.raises(ValueError, match="GradScaler: expected init_scale > 0"):
        GradScaler(**wrong)
