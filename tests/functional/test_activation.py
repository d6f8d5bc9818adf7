import math

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import Tensor, gradcheck, gradgradcheck

# Each function of one number, written down a second time with Python's math.
BY_HAND = {
    "relu": (F.relu, lambda v: v if v > 0 else 0.0),
    "leaky_relu": (F.leaky_relu, lambda v: v if v > 0 else 0.01 * v),
    "leaky_relu_steep": (lambda x: F.leaky_relu(x, 1.5), lambda v: v if v > 0 else 1.5 * v),
    "leaky_relu_down": (lambda x: F.leaky_relu(x, -0.5), lambda v: v if v > 0 else -0.5 * v),
    "elu": (F.elu, lambda v: v if v > 0 else math.expm1(v)),
    "elu_alpha": (lambda x: F.elu(x, 0.3), lambda v: v if v > 0 else 0.3 * math.expm1(v)),
    "sigmoid": (F.sigmoid, lambda v: 1 / (1 + math.exp(-v))),
    "tanh": (F.tanh, math.tanh),
}


def away_from_zero(rng, *shape):
    """Values at least 0.05 from the kink at 0, so that difference quotients do not straddle it."""
    x = rng.standard_normal(shape)
    return x + 0.05 * np.sign(x)


def layouts(x):
    """The same values in C order, channels-last, with gaps, and backwards in memory."""
    yield x.copy()
    if x.ndim == 4:
        yield np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    yield wide[..., ::2]
    yield x[..., ::-1].copy()[..., ::-1]


@pytest.mark.parametrize("name", BY_HAND)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_in_every_memory_layout(name, dtype, rng):
    op, formula = BY_HAND[name]
    x = rng.standard_normal((2, 3, 5, 4)).astype(dtype)
    expected = np.array([formula(float(v)) for v in x.ravel()]).reshape(x.shape)
    for lying in layouts(x):
        y = op(Tensor(lying))
        assert y.dtype == x.dtype
        np.testing.assert_allclose(y.numpy(), expected, rtol=4 * np.finfo(dtype).eps, atol=1e-300)


@pytest.mark.parametrize("name", BY_HAND)
def test_first_and_second_derivatives(name, rng):
    op = BY_HAND[name][0]
    x = Tensor(away_from_zero(rng, 2, 3, 2, 2), requires_grad=True)
    assert gradcheck(op, x)
    assert gradgradcheck(op, x)


@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (300_000,), (2, 70_000, 3)])
def test_relu_of_any_shape(shape, rng):
    x = rng.standard_normal(shape).astype("float32")
    t = Tensor(x, requires_grad=True)
    y = F.relu(t)
    np.testing.assert_array_equal(y.numpy(), np.where(x > 0, x, 0))
    gy = rng.standard_normal(shape).astype("float32")
    y.backward(Tensor(np.asarray(gy)))
    np.testing.assert_array_equal(t.grad.numpy(), np.where(x > 0, gy, 0))


def test_relu_gradient_in_another_layout_than_the_input(rng):
    x = rng.standard_normal((2, 60, 50, 40)).astype("float32")
    for lying in layouts(x):
        for gy in layouts(rng.standard_normal(x.shape).astype("float32")):
            t = Tensor(lying, requires_grad=True)
            F.relu(t).backward(Tensor(gy))
            np.testing.assert_array_equal(t.grad.numpy(), gy * (x > 0))


def test_slope_at_zero_is_zero_and_nan_stays():
    x = Tensor(np.array([0.0, -0.0, np.nan]), requires_grad=True)
    y = F.relu(x)
    y.backward(np.ones(3))
    assert y.numpy()[0] == 0 and np.isnan(y.numpy()[2])
    assert x.grad.numpy()[:2].tolist() == [0.0, 0.0]


def test_relu_keeps_only_its_output(rng):
    x = Tensor(rng.standard_normal((4, 4)), requires_grad=True)
    y = F.relu(x)
    (kept,) = y.grad_fn.saved_tensors
    assert kept.data is y.data


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sigmoid_of_large_arguments(dtype):
    x = np.array([-1e4, -80, -30, 0, 30, 1e4], dtype)
    y = F.sigmoid(Tensor(x)).numpy()
    np.testing.assert_allclose(y, scipy.special.expit(x), rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("slopes", [1, 3])
def test_prelu(slopes, rng):
    x = away_from_zero(rng, 2, 3, 2, 2)
    w = rng.uniform(0.1, 0.9, slopes)
    y = F.prelu(Tensor(x), Tensor(w)).numpy()
    for n, c, h, v in np.ndindex(x.shape):
        value = x[n, c, h, v]
        assert y[n, c, h, v] == (value if value > 0 else w[c % slopes] * value)
    inputs = [Tensor(x, requires_grad=True), Tensor(w, requires_grad=True)]
    assert gradcheck(F.prelu, inputs)
    assert gradgradcheck(F.prelu, inputs)


@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    dim=st.integers(-4, 3),
    scale=st.sampled_from([1.0, 1e4]),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 99),
)
def test_softmax_against_scipy(shape, dim, scale, dtype, seed):
    dim = dim % len(shape)
    x = (np.random.default_rng(seed).standard_normal(shape) * scale).astype(dtype)
    eps = np.finfo(dtype).eps
    for lying in layouts(x):
        y = F.softmax(Tensor(lying), dim)
        assert y.dtype == dtype
        expected = scipy.special.softmax(x.astype("float64"), dim)
        np.testing.assert_allclose(y.numpy(), expected, rtol=100 * eps, atol=eps)
        y = F.log_softmax(Tensor(lying), dim - len(shape))
        expected = scipy.special.log_softmax(x.astype("float64"), dim)
        np.testing.assert_allclose(y.numpy(), expected, rtol=8 * eps, atol=8 * eps)


@pytest.mark.parametrize("op", [F.softmax, F.log_softmax])
@pytest.mark.parametrize("dim", [0, 1, 2])
def test_softmax_derivatives(op, dim, rng):
    x = Tensor(rng.standard_normal((2, 3, 2)), requires_grad=True)
    assert gradcheck(lambda t: op(t, dim), x)
    assert gradgradcheck(lambda t: op(t, dim), x)


def test_softmax_over_many_pixels_is_cut_into_blocks_without_a_seam(rng):
    x = rng.standard_normal((1, 21, 200, 100)).astype("float32")
    expected = scipy.special.softmax(x.astype("float64"), 1)
    np.testing.assert_allclose(F.softmax(Tensor(x), 1).numpy(), expected, rtol=2e-6)


def test_errors():
    x = tinyfcn.tensor([[1.0, 2.0]])
    with pytest.raises(ValueError, match=r"softmax: dim 2 is out of range for shape \(1, 2\)"):
        F.softmax(x, 2)
    with pytest.raises(ValueError, match=r"log_softmax: dim -3 is out of range"):
        F.log_softmax(x, -3)
    with pytest.raises(ValueError, match=r"prelu: weight must have shape \(1,\) or \(2,\).*\(3,\)"):
        F.prelu(x, tinyfcn.tensor([1.0, 1.0, 1.0]))
    with pytest.raises(ValueError, match="elu: alpha must be at least 0, got -1"):
        F.elu(x, -1)
    with pytest.raises(TypeError, match="relu: x must have a floating dtype, got int64"):
        F.relu(tinyfcn.tensor([1, 2]))
