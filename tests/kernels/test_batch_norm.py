"""kernels/batch_norm.cu against the NumPy twin in float64."""

import numpy as np
import pytest

from tinyfcn.backend import half
from tinyfcn.backend.cuda import normalization

# A part has 4096 elements of a channel.
SHAPES = [
    (2, 3, 5, 7),
    (1, 1, 1, 2),
    (257, 3),
    (3, 2, 256),
    (2, 2, 64, 65),
    (5000, 2),
    (9, 1, 31, 37),
    (2, 5, 3, 4),
]


@pytest.mark.parametrize("shape", SHAPES)
def test_statistics(cuda, twin, numbers, close, stored, shape):
    x = numbers(*shape, dtype=stored)
    mean, var = cuda.batch_norm_stats(x)
    expected_mean, expected_var = twin.batch_norm_stats(x.astype("float64"))
    terms = 16 if stored != "float64" else x.size // shape[1]  # of the twin, one after the other
    close(mean, expected_mean, terms, 1.0)
    close(var, expected_var, terms)


def test_statistics_of_a_large_mean(cuda, numbers, close):
    x = (numbers(2, 3, 61, 67, dtype="float64") + 1e4).astype("float32")
    x[0, 0] -= 5000  # the parts of a channel differ, too
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
def test_nan_stays(cuda, numbers, relu):
    x, (mean, weight, bias) = numbers(2, 3, 5, 7), numbers(3, 3)
    x[1, 2, 3, 4] = np.nan
    y = cuda.batch_norm(x, mean, np.abs(weight), weight, bias, relu)
    assert np.isnan(y[1, 2, 3, 4]) and np.isnan(y).sum() == 1


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", [*SHAPES, (0, 3, 2, 2)])
def test_forward_and_backward(cuda, twin, numbers, close, stored, shape, relu):
    x, gy = numbers(*shape, dtype=stored), numbers(*shape, dtype=stored)
    mean, invstd, weight, bias = numbers(4, shape[1], dtype=half.wide(stored))
    invstd = np.abs(invstd) + 1
    share = shape[1] / max(1, x.size)
    y = cuda.batch_norm(x, mean, invstd, weight, bias, relu)
    mask = y if relu else None
    gx, sum_gy, sum_gy_xhat = cuda.batch_norm_grad(gy, x, mean, invstd, weight, share, mask)

    x, gy, mean, invstd, weight, bias = (
        a.astype("float64") for a in (x, gy, mean, invstd, weight, bias)
    )
    sizes = np.abs(mean), invstd, np.abs(weight), np.abs(bias)
    mean_size, invstd_size, weight_size, bias_size = (
        a.reshape(-1, *[1] * (x.ndim - 2)) for a in sizes
    )
    xhat_size = (np.abs(x) + mean_size) * invstd_size
    close(
        y,
        twin.batch_norm(x, mean, invstd, weight, bias, relu),
        scale=xhat_size * weight_size + bias_size,
    )
    if x.size:
        expected = twin.batch_norm_grad(gy, x, mean, invstd, weight, share, mask)
    else:
        expected = np.zeros(shape), np.zeros(shape[1]), np.zeros(shape[1])
    pixels = (0, *range(2, x.ndim))
    gy_size = np.abs(gy)
    close(sum_gy, expected[1], 16, gy_size.sum(pixels))
    close(sum_gy_xhat, expected[2], 16, (gy_size * xhat_size).sum(pixels))
    both = gy_size.sum(pixels, keepdims=True) + xhat_size * (gy_size * xhat_size).sum(
        pixels, keepdims=True
    )
    scale = weight_size * invstd_size * (gy_size + share * both)
    close(gx, expected[0], 16, scale)


@pytest.fixture(params=[True, False], ids=["whole", "in parts"])
def whole(request, monkeypatch):
    """Whether a block takes a channel where that has few parts."""
    if not request.param:
        monkeypatch.setattr(normalization, "WHOLE", 0)
    return request.param


def vectors(numbers, channels, dtype):
    weight, bias, mean, var = numbers(4, channels, dtype=dtype)
    return weight, bias, (mean, np.abs(var) + 0.5)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_training(cuda, twin, numbers, close, stored, shape, relu, whole):
    x, (weight, bias, running) = (
        numbers(*shape, dtype=stored),
        vectors(numbers, shape[1], half.wide(stored)),
    )
    wide = [a.astype("float64") for a in (x, weight, bias, *running)]
    y, mean, invstd = cuda.batch_norm_train(x, weight, bias, running, 0.3, 1e-3, relu)
    options = wide[3:], 0.3, 1e-3, relu
    expected_y, expected_mean, expected_invstd = twin.batch_norm_train(*wide[:3], *options)
    terms = 16 if stored != "float64" else x.size // shape[1]
    close(mean, expected_mean, terms, 1.0)
    close(invstd, expected_invstd, terms)
    close(running[0], wide[3], terms, 1 + np.abs(wide[3]))
    close(running[1], wide[4], terms)
    along = [np.reshape(v, (-1, *[1] * (x.ndim - 2))) for v in (expected_invstd, *wide[1:3])]
    close(y, expected_y, terms, (1 + np.abs(x)) * along[0] * np.abs(along[1]) + np.abs(along[2]))


@pytest.mark.parametrize("shape", [*SHAPES, (1, 3, 128, 128), (1, 2, 1, 16385)])
def test_a_block_that_takes_a_channel_gives_the_same_bits(
    cuda, numbers, stored, shape, monkeypatch
):
    x, gy = numbers(*shape, dtype=stored), numbers(*shape, dtype=stored)
    weight, bias, (mean, var) = vectors(numbers, shape[1], half.wide(stored))
    found = []
    for largest in (normalization.WHOLE, 0):
        monkeypatch.setattr(normalization, "WHOLE", largest)
        running = mean.copy(), var.copy()
        made = y, *moments = cuda.batch_norm_train(x, weight, bias, running, 0.3, 1e-3, True)
        made += running
        for mask in (y, None):
            made += cuda.batch_norm_grad(gy, x, *moments, weight, shape[1] / x.size, mask)
        found.append([a.tobytes() for a in made])
    assert found[0] == found[1]


def test_half_beside_float32(cuda, numbers, same):
    """Activations of which one is float32, and vectors and running values that are float16."""
    halves = [*numbers(3, 2, 3, 4, 6, dtype="float16")]
    weight, bias, mean, var = (np.abs(v) + 1 for v in numbers(4, 3, dtype="float16"))
    vectors = [v.astype("float32") for v in (mean, var, weight)]
    expected = cuda.batch_norm_grad(*halves[:2], *vectors, 0.1, halves[2])
    assert [a.dtype for a in expected] == ["float16", "float32", "float32"]
    for i in range(3):
        mixed = [a.astype("float32") if i == k else a for k, a in enumerate(halves)]
        found = cuda.batch_norm_grad(*mixed[:2], mean, var, weight, 0.1, mixed[2])
        for one, other in zip(found, expected, strict=True):
            same(one, other)
    for moments in (None, (48, *vectors[:2])):
        made = [
            cuda.batch_norm_train(
                x, weight, bias, (mean.copy(), var.copy()), 0.3, 1e-3, True, moments
            )
            for x in (halves[0], halves[0].astype("float32"))
        ]
        for one, other in zip(*made, strict=True):
            same(one, other.astype(one.dtype))
        assert [a.dtype for a in made[0]] == ["float16", "float32", "float32"]


@pytest.mark.parametrize("where", ["aligned", "x", "gy", "y", "results"])
def test_arrays_that_begin_anywhere(
    checked, twin, numbers, stored, unaligned, anywhere, where, monkeypatch
):
    monkeypatch.setattr(normalization, "WHOLE", 0)
    arrays = dict(zip(("x", "gy", "y"), numbers(3, 2, 3, 4, 6, dtype=stored), strict=True))
    x, gy, y = (unaligned(a) if n == where else a.copy() for n, a in arrays.items())
    if where == "results":
        anywhere(checked)
    mean, invstd, weight, bias = numbers(4, 3, dtype=half.wide(stored))
    rounded = 2.0**-11 if stored == "float16" else 0
    given = mean, invstd, weight, bias, True
    found, expected = checked.batch_norm(x, *given), twin.batch_norm(x.astype("f8"), *given)
    np.testing.assert_allclose(found, expected, 1e-4 + rounded, 1e-5)
    given = mean, invstd, weight, 0.1
    found = checked.batch_norm_grad(gy, x, *given, y)
    expected = twin.batch_norm_grad(gy.astype("f8"), x.astype("f8"), *given, y)
    np.testing.assert_allclose(found[0], expected[0], 1e-3 + rounded, 1e-4)


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (2, 2, 64, 65)])
def test_every_access_is_allowed(checked, twin, numbers, close, stored, shape, whole):
    x, gy = numbers(*shape, dtype=stored), numbers(*shape, dtype=stored)
    mean, var = checked.batch_norm_stats(x)
    expected_mean, expected_var = twin.batch_norm_stats(x.astype("float64"))
    terms = 16 if stored != "float64" else x.size // shape[1]
    close(mean, expected_mean, terms, 1.0)
    close(var, expected_var, terms)
    weight, bias, running = vectors(numbers, shape[1], half.wide(stored))
    y, mean, invstd = checked.batch_norm_train(x, weight, bias, running, 0.3, 1e-3, True)
    _, sum_gy, _ = checked.batch_norm_grad(gy, x, mean, invstd, weight, 1e-3, y)
    cut = np.where(y > 0, gy, 0).astype("float64")
    close(sum_gy, cut.sum((0, 2, 3)), 16, np.abs(cut).sum((0, 2, 3)))
