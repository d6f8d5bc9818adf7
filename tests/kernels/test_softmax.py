"""kernels/softmax.cu against the NumPy twin in float64."""

import numpy as np
import pytest

CASES = [((255,), 0), ((257, 3), 1), ((3, 257), 0), ((2, 21, 5, 7), 1), ((2, 3, 4, 5), 3)]
CASES += [((2, 3, 4, 5), 2), ((2, 1, 3, 3), 1), ((1, 1), 1), ((0, 3), 1), ((2, 2, 30, 31), 1)]


@pytest.mark.parametrize(("shape", "dim"), CASES)
def test_softmax(cuda, twin, numbers, close, dtype, shape, dim):
    x = 5 * numbers(*shape, dtype=dtype)
    wide = x.astype("float64")
    # exp(v) is as exact as v, which is off by eps · |v|; v here is up to some tens.
    largest = np.abs(x).max(initial=1) * 2
    expected = twin.softmax(wide, dim)
    close(cuda.softmax(x, dim), expected, x.shape[dim], expected * largest)
    close(cuda.log_softmax(x, dim), twin.log_softmax(wide, dim), x.shape[dim], largest)


def test_large_and_not_finite(cuda, twin, dtype):
    rows = [
        [1e4, 1e4, -1e4], [-1e4, 1e4, 0], [0, 0, 1e4], [np.inf, 0, 0], [-np.inf, 0, 0],
        [-np.inf] * 3, [np.nan, 0, 0], [0, np.nan, 1],
    ]  # fmt: skip
    x = np.array(rows, dtype)
    for dim in (0, 1):
        a = x if dim else np.ascontiguousarray(x.T)
        with np.errstate(invalid="ignore", divide="ignore"):
            np.testing.assert_allclose(cuda.softmax(a, dim), twin.softmax(a, dim), rtol=1e-6)
            np.testing.assert_allclose(
                cuda.log_softmax(a, dim), twin.log_softmax(a, dim), rtol=1e-6
            )


@pytest.mark.parametrize("dim", [1, 3])
def test_every_access_is_allowed(checked, numbers, dim):
    x = numbers(2, 5, 17, 19)
    y = checked.softmax(x, dim)
    np.testing.assert_allclose(y.sum(dim), 1, rtol=1e-5)
    np.testing.assert_allclose(checked.log_softmax(x, dim), np.log(y), rtol=1e-4, atol=1e-5)
