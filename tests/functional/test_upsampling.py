"""Interpolation, against loops over the definition, SciPy and published values."""

import math

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import assume, given
from hypothesis import strategies as st

import tinyfcn.functional as F
from tinyfcn import Tensor, adjointcheck, gradcheck, gradgradcheck, tensor


def positions(n, out, scale, align_corners):
    """Where each output pixel looks, along one axis."""
    for i in range(out):
        if align_corners:
            yield i * (n - 1) / (out - 1) if out > 1 else 0.0
        else:
            yield min(max((i + 0.5) * scale - 0.5, 0.0), n - 1.0)


def bilinear_loops(x, size, scales, align_corners):
    n, c, h, w = x.shape
    y = np.zeros((n, c, *size))
    for i, v in enumerate(positions(h, size[0], scales[0], align_corners)):
        for j, u in enumerate(positions(w, size[1], scales[1], align_corners)):
            for row in range(h):
                for col in range(w):
                    weight = max(0, 1 - abs(row - v)) * max(0, 1 - abs(col - u))
                    y[:, :, i, j] += weight * x[:, :, row, col]
    return y


def layouts(array):
    """The same values channels-first, channels-last, and as every other element of a larger one."""
    yield array
    yield np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    spread = np.full([2 * n for n in array.shape], 99, array.dtype)
    spread[::2, ::2, ::2, ::2] = array
    yield spread[::2, ::2, ::2, ::2]


shapes = st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 7), st.integers(1, 7))
sizes = st.tuples(st.integers(1, 12), st.integers(1, 12))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("float64", 1e-13)])
@given(shape=shapes, size=sizes, align_corners=st.booleans())
def test_bilinear_to_a_size(dtype, tolerance, shape, size, align_corners):
    x = np.random.default_rng(5).standard_normal(shape).astype(dtype)
    scales = [n / out for n, out in zip(shape[2:], size, strict=True)]
    expected = bilinear_loops(x.astype("float64"), size, scales, align_corners)
    for layout in layouts(x):
        y = F.interpolate(Tensor(layout), size, mode="bilinear", align_corners=align_corners)
        assert y.dtype == dtype
        np.testing.assert_allclose(y.numpy(), expected, rtol=tolerance, atol=tolerance)


@given(shape=shapes, factors=st.tuples(st.floats(0.3, 3), st.floats(0.3, 3)))
def test_bilinear_by_a_factor_steps_by_that_factor(shape, factors):
    """The size is rounded down, but positions follow the factor that was given."""
    size = [math.floor(n * f) for n, f in zip(shape[2:], factors, strict=True)]
    assume(min(size) > 0)
    x = np.random.default_rng(6).standard_normal(shape)
    # An axis that keeps its size is copied.
    scales = [1 if n == out else 1 / f
              for n, out, f in zip(shape[2:], size, factors, strict=True)]  # fmt: skip
    y = F.interpolate(tensor(x), scale_factor=factors, mode="bilinear")
    expected = bilinear_loops(x, size, scales, False)
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(shape=shapes, size=sizes)
def test_nearest_to_a_size(dtype, shape, size):
    x = np.random.default_rng(7).standard_normal(shape).astype(dtype)
    rows = [i * shape[2] // size[0] for i in range(size[0])]
    columns = [j * shape[3] // size[1] for j in range(size[1])]
    for layout in layouts(x):
        y = F.interpolate(Tensor(layout), size)
        assert y.dtype == dtype
        np.testing.assert_array_equal(y.numpy(), x[:, :, rows][:, :, :, columns])


def test_nearest_by_a_factor():
    x = tensor(np.arange(5.0).reshape(1, 1, 1, 5))

    def resized(factor):
        return F.interpolate(x, scale_factor=(1, factor)).numpy()[0, 0, 0].tolist()

    assert resized(2) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert resized(0.5) == [0, 2]
    assert resized(1.5) == [0, 0, 1, 2, 2, 3, 4]  # ⌊i / 1.5⌋ for i below ⌊7.5⌋
    assert resized(2.1) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_nearest_rounds_no_position_below_its_true_value():
    """11 · 30 / 22 is 15, but 11 · (30 / 22) in floating point is less."""
    x = tensor(np.arange(30.0).reshape(1, 1, 1, 30))
    assert F.interpolate(x, (1, 22)).numpy()[0, 0, 0, 11] == 15


def test_nearest_leaves_infinity_and_nan_alone():
    x = np.array([[[[np.inf, 1.0], [2.0, np.nan]]]])
    y = F.interpolate(tensor(x), scale_factor=2).numpy()
    np.testing.assert_array_equal(y, x.repeat(2, 2).repeat(2, 3))


@given(shape=shapes, size=sizes, align_corners=st.booleans())
def test_gradients(shape, size, align_corners):
    x = tensor(np.random.default_rng(8).standard_normal(shape), requires_grad=True)

    def bilinear(x):
        return F.interpolate(x, size, mode="bilinear", align_corners=align_corners)

    def nearest(x):
        return F.interpolate(x, size)

    for fn in (bilinear, nearest):
        assert adjointcheck(fn, x)
        assert gradcheck(fn, x, directional=True)
        assert gradgradcheck(lambda x, fn=fn: fn(x) * fn(x), x, directional=True)


@pytest.mark.parametrize(("n", "factor"), [(37, 8), (150, 2), (64, 0.5), (65, 0.25)])
def test_large_images_against_scipy(rng, n, factor):
    """Several blocks of rows and columns; scipy.ndimage samples the same positions."""
    x = rng.standard_normal((2, 2, n, n + 3))
    leaf = tensor(x, requires_grad=True)

    def fn(x):
        return F.interpolate(x, scale_factor=factor, mode="bilinear")

    y = fn(leaf)
    where = [(np.arange(m) + 0.5) / factor - 0.5 for m in y.shape[2:]]
    grid = np.meshgrid(*where, indexing="ij")
    for image, channel in np.ndindex(2, 2):
        expected = scipy.ndimage.map_coordinates(x[image, channel], grid, order=1, mode="nearest")
        np.testing.assert_allclose(y.numpy()[image, channel], expected, rtol=1e-10, atol=1e-10)
    assert adjointcheck(fn, leaf)


def test_golden_bilinear():
    x = tensor([[[[1.0, 3.0]]]])
    half_pixel = F.interpolate(x, (1, 4), mode="bilinear")
    assert half_pixel.numpy()[0, 0, 0].tolist() == [1.0, 1.5, 2.5, 3.0]
    corners = F.interpolate(tensor([[[[0.0, 3.0]]]]), (1, 4), mode="bilinear", align_corners=True)
    assert corners.numpy()[0, 0, 0].tolist() == [0.0, 1.0, 2.0, 3.0]


def test_bilinear_agrees_with_deconvolution_inside(rng):
    """Twice the size: taps ¼ and ¾, as the bilinear deconvolution with kernel 4 has them."""
    x = tensor(rng.standard_normal((1, 1, 5, 6)))
    taps = np.array([0.25, 0.75, 0.75, 0.25])
    weight = tensor(np.outer(taps, taps)[None, None])
    deconvolved = F.conv_transpose2d(x, weight, stride=2, padding=1).numpy()
    resized = F.interpolate(x, scale_factor=2, mode="bilinear").numpy()
    np.testing.assert_allclose(
        resized[..., 1:-1, 1:-1], deconvolved[..., 1:-1, 1:-1], rtol=1e-13, atol=1e-13
    )


@given(shape=shapes, size=sizes, align_corners=st.booleans())
def test_a_constant_stays_constant(shape, size, align_corners):
    y = F.interpolate(tensor(np.ones(shape)), size, mode="bilinear", align_corners=align_corners)
    np.testing.assert_allclose(y.numpy(), 1.0, rtol=1e-15)


x22 = tensor(np.zeros((1, 1, 2, 2)))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.interpolate(x22), ValueError, r"interpolate: give either size or scale_factor"),
        (lambda: F.interpolate(x22, 4, 2), ValueError, r"got size=4 and scale_factor=2"),
        (lambda: F.interpolate(x22, 4, mode="bicubic"), ValueError,
         r"interpolate: mode must be 'nearest' or 'bilinear', got 'bicubic'"),
        (lambda: F.interpolate(x22, 4, align_corners=True), ValueError,
         r"interpolate: align_corners goes with mode 'bilinear' only"),
        (lambda: F.interpolate(x22, 0), ValueError, r"interpolate: size must be at least 1, got 0"),
        (lambda: F.interpolate(x22, scale_factor=0.4), ValueError,
         r"scale_factor 0.4 leaves an output of size \(0, 0\), x \(1, 1, 2, 2\)"),
        (lambda: F.interpolate(x22, scale_factor=-1), ValueError,
         r"scale_factor must be above 0 and finite, got -1"),
        (lambda: F.interpolate(x22, scale_factor="2x"), TypeError,
         r"scale_factor must be one number or two, got '2x'"),
        (lambda: F.interpolate(tensor(np.zeros((2, 2))), 4), ValueError,
         r"interpolate: x must have 4 axes"),
        (lambda: F.interpolate(tensor(np.zeros((1, 1, 2, 2), int)), 4), TypeError,
         r"interpolate: x must have a floating dtype, got int64"),
    ],
)  # fmt: skip
def test_errors_name_the_argument_and_the_numbers(call, error, message):
    with pytest.raises(error, match=message):
        call()
