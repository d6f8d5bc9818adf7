"""kernels/batch_norm.cu against the NumPy twin in float64."""

import numpy as np
import pytest

# A tile has 4096 elements of a channel.
SHAPES = [
    (2, 3, 5, 7),
    (1, 1, 1, 2),
    (257, 3),
    (3, 2, 256),
    (2, 2, 64, 65),
    (5000, 2),
    (9, 1, 31, 37),
]


@pytest.mark.parametrize("shape", SHAPES)
def test_statistics(cuda, twin, numbers, close, dtype, shape):
    x = numbers(*shape, dtype=dtype)
    mean, var = cuda.batch_norm_stats(x)
    expected_mean, expected_var = twin.batch_norm_stats(x.astype("float64"))
    close(mean, expected_mean, 16, 1.0)
    close(var, expected_var, 16)


def test_statistics_of_a_large_mean(cuda, numbers, close):
    x = (numbers(2, 3, 61, 67, dtype="float64") + 1e4).astype("float32")
    x[0, 0] -= 5000  # the tiles of a channel differ, too
    mean, var = cuda.batch_norm_stats(x)
    close(mean, x.mean((0, 2, 3), dtype="float64"), 16)
    close(var, x.astype("float64").var((0, 2, 3)), 16)


def test_statistics_where_the_mean_itself_is_rounded(cuda, close):
    x = (1e7 + np.arange(4096) % 4).astype("float32")[:, None]  # mean 1e7 + 1.5, no float32
    _, var = cuda.batch_norm_stats(x)
    close(var, np.array([1.25]), 16)


def test_statistics_of_one_outlier(cuda, close):
    x = np.zeros((1, 1, 5000), "float32")
    x[0, 0, 0] = 1e6
    mean, var = cuda.batch_norm_stats(x)
    close(mean, x.mean((0, 2), dtype="float64"), 16)
    close(var, x.astype("float64").var((0, 2)), 16)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_statistics_of_what_is_not_finite(cuda, numbers, value):
    x = numbers(2, 2, 3, 3)
    x[1, 0, 1, 1] = value
    mean, var = cuda.batch_norm_stats(x)
    assert not np.isfinite(mean[0]) and np.isnan(var[0])
    assert np.isfinite([mean[1], var[1]]).all()


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", [*SHAPES, (0, 3, 2, 2)])
def test_forward_and_backward(cuda, numbers, close, dtype, shape, relu):
    x, gy = numbers(*shape, dtype=dtype), numbers(*shape, dtype=dtype)
    mean, weight, bias, invstd, mean_gy, mean_gy_xhat = vectors = numbers(6, shape[1], dtype=dtype)
    invstd[:] = np.abs(invstd) + 0.5
    y = cuda.batch_norm(x, mean, invstd, weight, bias, relu)
    sums = cuda.batch_norm_grad_sums(gy, x, mean, invstd, y if relu else None)
    gx = cuda.batch_norm_input_grad(
        gy, x, mean, invstd, weight, mean_gy, mean_gy_xhat, y if relu else None
    )

    # The formulas of the interface.
    x, gy, *vectors = (a.astype("float64") for a in (x, gy, *vectors))
    along = [v.reshape(-1, *[1] * (x.ndim - 2)) for v in vectors]
    mean, weight, bias, invstd, mean_gy, mean_gy_xhat = along
    xhat = (x - mean) * invstd
    plain = xhat * weight + bias
    scale = np.abs(xhat * weight) + np.abs(bias) + np.abs(mean * invstd * weight)
    close(y, np.maximum(plain, 0) if relu else plain, 1, scale)
    gy = gy * (y > 0) if relu else gy
    pixels = (0, *range(2, x.ndim))
    close(sums[0], gy.sum(pixels), 16, np.abs(gy).sum(pixels))
    scale = np.abs(gy) * (np.abs(x) + np.abs(mean)) * invstd
    close(sums[1], (gy * xhat).sum(pixels), 16, scale.sum(pixels))
    scale = (
        np.abs(gy) + np.abs(mean_gy) + (np.abs(x) + np.abs(mean)) * invstd * np.abs(mean_gy_xhat)
    )
    close(
        gx,
        weight * invstd * (gy - mean_gy - xhat * mean_gy_xhat),
        1,
        np.abs(weight * invstd) * scale,
    )


def test_like_the_twin(cuda, twin, numbers, close):
    x, gy = numbers(2, 3, 5, 7), numbers(2, 3, 5, 7)
    vectors = numbers(5, 3)
    mean, invstd, weight, a, b = vectors
    wide = [v.astype("float64") for v in (x, *vectors)]
    close(cuda.batch_norm(x, *vectors[:4]), twin.batch_norm(*wide[:5]), 4, 20.0)
    wide_gy = gy.astype("float64")
    for actual, expected in zip(
        cuda.batch_norm_grad_sums(gy, x, mean, invstd),
        twin.batch_norm_grad_sums(wide_gy, *wide[:3]),
        strict=True,
    ):
        close(actual, expected, 16, 100.0)
    close(
        cuda.batch_norm_input_grad(gy, x, mean, invstd, weight, a, b),
        twin.batch_norm_input_grad(wide_gy, *wide),
        4,
        20.0,
    )
