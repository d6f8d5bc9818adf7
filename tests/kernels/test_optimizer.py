"""kernels/optimizer.cu against the NumPy twin in float64."""

import numpy as np
import pytest

SHAPES = [(), (1,), (255,), (256,), (257,), (1500,), (4, 3, 2, 5), (0,)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("momentum", [None, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd(cuda, twin, numbers, close, dtype, shape, momentum, nesterov):
    names = "param", "grad", "velocity"
    arrays = {name: np.asarray(numbers(*shape, dtype=dtype)) for name in names}
    if momentum is None:
        arrays["velocity"] = None
    options = momentum or 0.0, 0.7, 0.1, 0.01, nesterov
    hold(cuda.sgd_update, twin.sgd_update, arrays, options, close)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("shrink", [1.0, 0.99])
def test_adam(cuda, twin, numbers, close, dtype, shape, shrink):
    names = "param", "grad", "first", "second"
    arrays = {name: np.asarray(numbers(*shape, dtype=dtype)) for name in names}
    np.abs(arrays["second"], out=arrays["second"])
    options = 0.1, 0.9, 0.999, 0.5, 1e-8, 0.01, shrink
    hold(cuda.adam_update, twin.adam_update, arrays, options, close)


def hold(update, twin_update, arrays, options, close):
    """Three steps of both; afterwards the arrays that were given hold the result."""
    wide = [None if a is None else np.array(a, "float64", order="C") for a in arrays.values()]
    given = list(arrays.values())
    for _ in range(3):
        assert update(*given, *options) is None
        twin_update(*wide, *options)
    for actual, expected in zip(given, wide, strict=True):
        if actual is not None:
            # Adam divides by √v, which makes what is small large: m / √v is at most some hundred.
            close(np.asarray(actual, order="C"), expected, 16, 1 + np.abs(expected) * 30)


def test_arrays_that_lie_differently(cuda, twin, numbers):
    param, grad, velocity = (
        numbers(2, 3, 4, 5),
        numbers(2, 3, 4, 5).copy("C"),
        numbers(5, 4, 3, 2).T,
    )
    assert len({a.strides for a in (param, grad, velocity)}) == 3
    expected = param.copy(), grad.copy(), velocity.copy()
    cuda.sgd_update(param, grad, velocity, 0.9, 1.0, 0.1, 0.0, False)
    twin.sgd_update(*expected, 0.9, 1.0, 0.1, 0.0, False)
    for actual, wanted in zip((param, grad, velocity), expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-5)


def test_one_minus_beta_is_not_taken_in_float32(cuda):
    param, grad, first, second = (np.ones(1, "float32") for _ in range(4))
    second[0] = 0
    cuda.adam_update(param, grad, first, second, 0.0, 0.9, 0.9999, 1.0, 1e-8, 0.0, 1.0)
    assert second[0] == np.float32(1 - 0.9999)


def test_every_access_is_allowed(checked, twin, numbers, dtype):
    param, grad, *state = (numbers(3, 301, dtype=dtype) for _ in range(4))
    state = [np.abs(a) for a in state]
    expected = param.copy(), grad, *(a.copy() for a in state)
    checked.sgd_update(param, grad, state[0], 0.9, 1.0, 0.1, 0.01, True)
    checked.adam_update(param, grad, *state, 0.1, 0.9, 0.99, 0.5, 1e-8, 0.01, 0.99)
    twin.sgd_update(*expected[:3], 0.9, 1.0, 0.1, 0.01, True)
    twin.adam_update(*expected, 0.1, 0.9, 0.99, 0.5, 1e-8, 0.01, 0.99)
    np.testing.assert_allclose(param, expected[0], rtol=1e-4, atol=1e-5)
