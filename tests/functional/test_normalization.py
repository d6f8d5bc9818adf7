import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import Tensor, backend, grad, gradcheck, gradgradcheck


def layouts(x):
    yield x
    if x.ndim == 4:
        yield np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    yield np.repeat(x, 2, axis=1)[:, ::2]


def batch_norm_by_channel(x, weight, bias, eps):
    """Two-pass formulas in float64, one channel at a time."""
    y, means, variances = np.empty(x.shape), [], []
    for c in range(x.shape[1]):
        channel = x[:, c].astype("float64")
        mean = channel.mean()
        var = ((channel - mean) ** 2).mean()
        y[:, c] = (channel - mean) / np.sqrt(var + eps) * weight[c] + bias[c]
        means.append(mean)
        variances.append(var)
    return y, np.array(means), np.array(variances)


shapes = st.sampled_from(
    [(7, 3), (2, 3, 4), (2, 1, 1, 1), (1, 3, 5, 7), (3, 4, 1, 9), (2, 5, 6, 1), (9, 9, 5, 8)]
)


@given(
    shape=shapes, dtype=st.sampled_from(["float32", "float64"]), momentum=st.floats(0, 1),
    eps=st.sampled_from([1e-5, 1e-3, 0.1]), seed=st.integers(0, 99),
)  # fmt: skip
def test_batch_norm_training(shape, dtype, momentum, eps, seed):
    random = np.random.default_rng(seed)
    x = random.normal(random.uniform(-3, 3), random.uniform(0.5, 2), shape).astype(dtype)
    channels, count = shape[1], x.size // shape[1]
    weight, bias = (random.standard_normal(channels).astype(dtype) for _ in range(2))
    expected, mean, var = batch_norm_by_channel(x, weight, bias, eps)
    tolerance = 300 * np.finfo(dtype).eps
    for lying in layouts(x):
        running_mean = Tensor(random.standard_normal(channels).astype(dtype))
        running_var = random.uniform(1, 2, channels).astype(dtype)  # a plain array serves as well
        mean_before, var_before = running_mean.numpy().copy(), running_var.copy()
        y = F.batch_norm(
            Tensor(lying), running_mean, running_var, Tensor(weight), Tensor(bias),
            training=True, momentum=momentum, eps=eps,
        )  # fmt: skip
        assert y.dtype == dtype
        np.testing.assert_allclose(y.numpy(), expected, atol=tolerance, rtol=tolerance)
        new_mean = (1 - momentum) * mean_before + momentum * mean
        new_var = (1 - momentum) * var_before + momentum * var * count / (count - 1)
        np.testing.assert_allclose(running_mean.numpy(), new_mean, atol=tolerance)
        np.testing.assert_allclose(running_var, new_var, atol=tolerance, rtol=tolerance)


@given(shape=shapes, dtype=st.sampled_from(["float32", "float64"]), seed=st.integers(0, 99))
def test_batch_norm_evaluation(shape, dtype, seed):
    random = np.random.default_rng(seed)
    x = random.standard_normal(shape).astype(dtype)
    mean, weight, bias = (random.standard_normal(shape[1]).astype(dtype) for _ in range(3))
    var = random.uniform(0.5, 2, shape[1]).astype(dtype)
    before = mean.copy(), var.copy()
    column = (-1, *[1] * (x.ndim - 2))
    m, v, w, b = (t.astype("float64").reshape(column) for t in (mean, var, weight, bias))
    expected = (x - m) / np.sqrt(v + 1e-5) * w + b
    for lying in layouts(x):
        y = F.batch_norm(Tensor(lying), mean, var, Tensor(weight), Tensor(bias))
        tolerance = 20 * np.finfo(dtype).eps
        np.testing.assert_allclose(y.numpy(), expected, atol=tolerance, rtol=tolerance)
    np.testing.assert_array_equal(mean, before[0])
    np.testing.assert_array_equal(var, before[1])


@pytest.mark.parametrize("shape", [(4, 3), (2, 2, 3, 2), (3, 1, 1, 2)])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_derivatives(shape, training, affine, rng):
    x = Tensor(rng.standard_normal(shape), requires_grad=True)
    weight, bias = (Tensor(rng.standard_normal(shape[1]), requires_grad=True) for _ in range(2))
    mean, var = rng.standard_normal(shape[1]), rng.uniform(0.5, 2, shape[1])

    def op(*inputs):
        return F.batch_norm(inputs[0], mean.copy(), var.copy(), *inputs[1:], training=training)

    inputs = [x, weight, bias] if affine else [x]
    assert gradcheck(op, inputs)
    assert gradgradcheck(op, inputs)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(7, 3), (2, 3, 5), (3, 4, 5, 6), (2, 8, 40, 33)])
def test_a_fused_relu_changes_no_bit_of_value_or_gradient(shape, training, dtype, rng):
    x, gy = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    vectors = [rng.standard_normal(shape[1]).astype(dtype) for _ in range(2)]
    mean, var = rng.standard_normal(shape[1]).astype(dtype), np.full(shape[1], 2, dtype)

    def run(op, lying):
        running = mean.copy(), var.copy()
        inputs = [Tensor(a, requires_grad=True) for a in (lying, *vectors)]
        y = op(inputs[0], *running, *inputs[1:], training)
        y.backward(Tensor(gy))
        assert y.dtype == dtype
        return [y.numpy(), *running, *(t.grad.numpy() for t in inputs)]

    for lying in layouts(x):
        fused = run(lambda *inputs: F.batch_norm(*inputs, relu=True), lying)
        separate = run(lambda *inputs: F.relu(F.batch_norm(*inputs)), lying)
        assert (fused[0] == 0).any() and (fused[0] > 0).any()
        for a, b in zip(fused, separate, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_derivatives_through_a_fused_relu(training, affine, rng):
    x = Tensor(rng.standard_normal((2, 2, 3, 2)), requires_grad=True)
    vectors = [Tensor(rng.standard_normal(2), requires_grad=True) for _ in range(2 * affine)]
    mean, var = rng.standard_normal(2), rng.uniform(0.5, 2, 2)

    def op(*inputs):
        args = inputs[0], mean.copy(), var.copy(), *inputs[1:]
        return F.batch_norm(*args, training=training, relu=True)

    assert gradcheck(op, [x, *vectors])
    assert gradgradcheck(op, [x, *vectors])


def test_a_fused_relu_lets_nan_through():
    x = np.ones((2, 1, 2, 2), "float32")
    x[0, 0, 0, 0] = np.nan
    y = F.batch_norm(Tensor(x), np.zeros(1, "f4"), np.ones(1, "f4"), relu=True).numpy()
    np.testing.assert_array_equal(np.isnan(y), np.isnan(x))


def test_second_derivative_when_the_incoming_gradient_depends_on_x(rng):
    # The gradient of y² / 2 is y: gy is then a function of x, which must not be counted twice.
    x = Tensor(rng.standard_normal((5, 2)), requires_grad=True)
    w = Tensor(rng.standard_normal(2), requires_grad=True)

    def op(x, w):
        y = F.batch_norm(x, None, None, w, training=True)
        return (y * y * y).sum()

    assert gradgradcheck(op, [x, w])


def test_third_derivatives(rng):
    x = Tensor(rng.standard_normal((3, 1)), requires_grad=True)

    def slope(x):
        y = F.batch_norm(x, None, None, training=True)
        (g,) = tinyfcn.grad((y * y * y).sum(), x, create_graph=True)
        return g

    assert gradcheck(slope, x)
    assert gradgradcheck(slope, x)
    # Whether the second derivative will itself be differentiated must not change its value.
    (once,) = tinyfcn.grad(slope(x), x, np.array([[1.0], [-2.0], [0.5]]))
    (again,) = tinyfcn.grad(slope(x), x, np.array([[1.0], [-2.0], [0.5]]), create_graph=True)
    np.testing.assert_allclose(again.numpy(), once.numpy(), rtol=1e-9)


def test_mean_far_from_zero_loses_no_digits(rng):
    # E[x²] − E[x]² would give 10⁸ − 10⁸: nothing but rounding error.
    noise = rng.standard_normal((4, 2, 64, 64))
    x = (noise + np.array([1e4, -1e4]).reshape(1, 2, 1, 1)).astype("float32")
    mean, var = backend.active().batch_norm_stats(x)
    exact = x.astype("float64").transpose(1, 0, 2, 3).reshape(2, -1)
    np.testing.assert_allclose(mean, exact.mean(1), rtol=1e-7)
    np.testing.assert_allclose(var, exact.var(1), rtol=1e-6)


@pytest.mark.parametrize("height", [16, 17, 160])
def test_statistics_stay_exact_where_few_rows_differ_from_all_others(height, rng):
    x = rng.standard_normal((1, 2, height, 50))
    x[:, :, ::16] += np.array([1e4, -1e2]).reshape(1, 2, 1, 1)
    x = x.astype("float32")
    mean, var = backend.active().batch_norm_stats(x)
    exact = x.astype("float64").transpose(1, 0, 2, 3).reshape(2, -1)
    assert (np.abs(mean - exact.mean(1)) < 1e-6 * exact.std(1)).all()
    np.testing.assert_allclose(var, exact.var(1), rtol=16 * 2 * np.finfo("float32").eps)


@pytest.mark.parametrize("relu", [False, True])
def test_large_input_has_the_same_bits_for_any_number_of_threads(monkeypatch, rng, relu):
    x = rng.standard_normal((3, 24, 65, 67)).astype("float32")
    gy = rng.standard_normal(x.shape).astype("float32")
    results = []
    for threads in ("1", "2", "5"):
        monkeypatch.setenv("TINYFCN_NUM_THREADS", threads)
        t = Tensor(x, requires_grad=True)
        w = Tensor(np.ones(24, "float32"), requires_grad=True)
        y = F.batch_norm(t, None, None, w, training=True, relu=relu)
        y.backward(Tensor(gy))
        results.append((y.numpy(), t.grad.numpy(), w.grad.numpy()))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("mean", [2, 30])  # deviations of 3: near 0, and far from it
def test_float32_gradients_of_a_large_input_against_the_formula_in_float64(rng, mean):
    x = rng.normal(mean, 3, (2, 20, 90, 80)).astype("float32").astype("float64")
    gy = rng.standard_normal(x.shape)
    w = rng.standard_normal(20)
    t, weight = Tensor(x.astype("float32"), True), Tensor(w.astype("float32"), True)
    bias = Tensor(np.zeros(20, "float32"), True)
    F.batch_norm(t, None, None, weight, bias, training=True).backward(Tensor(gy.astype("float32")))
    pixels = (0, 2, 3)
    std = np.sqrt(x.var(pixels, keepdims=True) + 1e-5)
    xhat = (x - x.mean(pixels, keepdims=True)) / std
    inner = gy - gy.mean(pixels, keepdims=True) - xhat * (gy * xhat).mean(pixels, keepdims=True)
    np.testing.assert_allclose(t.grad.numpy(), w.reshape(1, -1, 1, 1) / std * inner, atol=3e-6)
    # A sum of 14,400 terms of size 1: rounding of order √14400 · 6e-8.
    np.testing.assert_allclose(weight.grad.numpy(), (gy * xhat).sum(pixels), atol=3e-4)
    np.testing.assert_allclose(bias.grad.numpy(), gy.sum(pixels), atol=3e-4)


def test_running_values_may_change_between_forward_and_backward(rng):
    x = Tensor(rng.standard_normal((4, 2)), requires_grad=True)
    weight = Tensor(np.ones(2), requires_grad=True)
    mean, var = np.zeros(2), np.ones(2)
    y = F.batch_norm(x, mean, var, weight, eps=0.0)
    mean += 5.0
    var *= 100.0
    y.backward(np.ones((4, 2)))
    np.testing.assert_allclose(x.grad.numpy(), 1.0)
    np.testing.assert_allclose(weight.grad.numpy(), x.numpy().sum(0))


def test_batch_norm_errors(rng):
    x = Tensor(rng.standard_normal((1, 8, 1, 1)))
    with pytest.raises(ValueError, match=r"more than 1 value per channel when training.*\(1, 8, 1"):
        F.batch_norm(x, None, None, training=True)
    with pytest.raises(ValueError, match="needs running_mean and running_var when not training"):
        F.batch_norm(x, None, None)
    with pytest.raises(ValueError, match=r"batch_norm: weight must have shape \(8,\).*got \(3,\)"):
        F.batch_norm(x, np.zeros(8), np.ones(8), Tensor(np.ones(3)))
    with pytest.raises(ValueError, match=r"batch_norm: running_var must have shape \(8,\)"):
        F.batch_norm(x, np.zeros(8), np.ones(9))
    with pytest.raises(ValueError, match=r"batch_norm: x must be floating with axes \(N, C"):
        F.batch_norm(Tensor(np.zeros(3)), None, None)


def lrn_by_loops(x, size, alpha, beta, k):
    y = np.empty(x.shape)
    for n, c in np.ndindex(x.shape[:2]):
        s = np.zeros(x.shape[2:])
        for j in range(c - size // 2, c - size // 2 + size):
            if 0 <= j < x.shape[1]:
                s += x[n, j].astype("float64") ** 2
        y[n, c] = x[n, c] / (k + alpha / size * s) ** beta
    return y


@given(
    shape=st.tuples(*[st.integers(1, 4), st.integers(1, 9), st.integers(1, 5), st.integers(1, 5)]),
    size=st.integers(1, 12), alpha=st.sampled_from([1e-4, 0.5, 2.0]),
    beta=st.sampled_from([0.75, 0.5, 1.3]), k=st.sampled_from([1.0, 2.0]),
    dtype=st.sampled_from(["float32", "float64"]),
)  # fmt: skip
def test_local_response_norm_against_loops(shape, size, alpha, beta, k, dtype):
    x = (np.random.default_rng(size).standard_normal(shape) * 3).astype(dtype)
    expected = lrn_by_loops(x, size, alpha, beta, k)
    for lying in layouts(x):
        y = F.local_response_norm(Tensor(lying), size, alpha, beta, k)
        assert y.dtype == dtype
        tolerance = 20 * np.finfo(dtype).eps
        np.testing.assert_allclose(y.numpy(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
def test_local_response_norm_derivatives(size, rng):
    x = Tensor(rng.standard_normal((1, 4, 2, 1)) * 2, requires_grad=True)

    def op(t):
        return F.local_response_norm(t, size, alpha=1.5, beta=0.75, k=1.2)

    assert gradcheck(op, x)
    assert gradgradcheck(op, x)


def test_local_response_norm_of_a_large_input(rng):
    x = rng.standard_normal((1, 24, 90, 91)).astype("float32")
    y = F.local_response_norm(Tensor(x), 5, 1.0)
    np.testing.assert_allclose(y.numpy(), lrn_by_loops(x, 5, 1.0, 0.75, 1.0), rtol=3e-6)


@pytest.mark.parametrize("size", [9, 256, 70_001, 10**12])
def test_local_response_norm_over_more_channels_than_there_are(size, rng):
    """And the memory that it takes does not grow with them."""
    x = tinyfcn.tensor(rng.standard_normal((2, 5, 40, 40)), requires_grad=True)
    y = F.local_response_norm(x, size, 2.0 * size, 0.5, 1.0)
    s = 1 + 2 * (x * x).sum(1, keepdim=True)
    np.testing.assert_allclose(y.numpy(), (x / s.sqrt()).numpy(), rtol=1e-12)
    gy = tinyfcn.tensor(rng.standard_normal(x.shape))
    got, wanted = (grad(z, x, gy)[0].numpy() for z in (y, x / s.sqrt()))
    np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-12)


def test_local_response_norm_errors():
    with pytest.raises(ValueError, match=r"local_response_norm: x must be floating.*\(2, 3\)"):
        F.local_response_norm(Tensor(np.zeros((2, 3))), 5)
    with pytest.raises(ValueError, match="size must be an integer of at least 1, got 0"):
        F.local_response_norm(Tensor(np.zeros((2, 3, 4))), 0)
