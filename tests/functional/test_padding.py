"""Padding and cropping, against numpy.pad and slices."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import tinyfcn.functional as F
from tinyfcn import adjointcheck, gradcheck, gradgradcheck, tensor

shapes = st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 6), st.integers(1, 6))
NUMPY_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}


def numpy_pad(x, pad, mode, value):
    left, right, top, bottom = pad
    more = {"constant_values": value} if mode == "constant" else {}
    return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), NUMPY_MODES[mode], **more)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate"])
@given(shape=shapes, borders=st.tuples(*[st.integers(0, 5)] * 4), last_axis_only=st.booleans())
def test_pad_equals_numpy(dtype, mode, shape, borders, last_axis_only):
    left, right, top, bottom = borders
    if last_axis_only:
        top = bottom = 0
    if mode == "reflect":
        left, right = left % shape[3], right % shape[3]
        top, bottom = top % shape[2], bottom % shape[2]
    x = np.random.default_rng(9).standard_normal(shape).astype(dtype)
    pad = (left, right) if last_axis_only else (left, right, top, bottom)
    expected = numpy_pad(x, (left, right, top, bottom), mode, 2.5)
    y = F.pad(tensor(x), pad, mode, 2.5)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y.numpy(), expected)
    strided = tensor(x.repeat(2, axis=2))[:, :, ::2]
    np.testing.assert_array_equal(F.pad(strided, pad, mode, 2.5).numpy(), expected)


@given(shape=shapes, borders=st.tuples(*[st.integers(-3, 3)] * 4))
def test_negative_numbers_crop(shape, borders):
    left, right, top, bottom = borders
    x = np.random.default_rng(10).standard_normal(shape)
    kept = x[:, :, max(0, -top) : shape[2] - max(0, -bottom),
             max(0, -left) : shape[3] - max(0, -right)]  # fmt: skip
    if max(0, -top) + max(0, -bottom) >= shape[2] or max(0, -left) + max(0, -right) >= shape[3]:
        with pytest.raises(ValueError, match=r"pad: pad .* leaves nothing of x"):
            F.pad(tensor(x), borders)
        return
    expected = numpy_pad(kept, [max(0, b) for b in borders], "constant", -1)
    np.testing.assert_array_equal(F.pad(tensor(x), borders, value=-1).numpy(), expected)


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate"])
@given(shape=shapes, borders=st.tuples(*[st.integers(-2, 4)] * 4))
def test_gradients_of_padding(mode, shape, borders):
    left, right, top, bottom = borders
    if mode == "constant":
        assume(max(0, -top) + max(0, -bottom) < shape[2])
        assume(max(0, -left) + max(0, -right) < shape[3])
    else:
        borders = [abs(b) for b in borders]
    if mode == "reflect":
        borders = [b % n for b, n in zip(borders, (shape[3],) * 2 + (shape[2],) * 2, strict=True)]
    x = tensor(np.random.default_rng(11).standard_normal(shape), requires_grad=True)

    def fn(x):
        return F.pad(x, borders, mode, 2.0)

    assert adjointcheck(fn, x)
    assert gradcheck(fn, x, directional=True)
    assert gradgradcheck(lambda x: fn(x) * fn(x), x, directional=True)


@pytest.mark.parametrize("mode", ["reflect", "replicate"])
def test_copies_leave_infinity_and_nan_alone(mode):
    x = np.array([[[[np.inf, 1.0, 2.0], [2.0, np.nan, 3.0]]]])
    np.testing.assert_array_equal(
        F.pad(tensor(x), (1, 2, 1, 0), mode).numpy(), numpy_pad(x, (1, 2, 1, 0), mode, 0)
    )


@given(shape=shapes, data=st.data())
def test_crop(shape, data):
    top, left = (data.draw(st.integers(0, n - 1)) for n in shape[2:])
    height = data.draw(st.integers(1, shape[2] - top))
    width = data.draw(st.integers(1, shape[3] - left))
    x = tensor(np.random.default_rng(12).standard_normal(shape), requires_grad=True)

    def fn(x):
        return F.crop(x, (top, left), (height, width))

    expected = x.numpy()[:, :, top : top + height, left : left + width]
    np.testing.assert_array_equal(fn(x).numpy(), expected)
    assert adjointcheck(fn, x)
    assert gradcheck(fn, x, directional=True)
    assert gradgradcheck(lambda x: fn(x) * fn(x), x, directional=True)


def test_crop_that_cuts_nothing_takes_no_memory():
    x = tensor(np.ones((1, 2, 3, 4)), requires_grad=True)
    y, gy = F.crop(x, 0, (3, 4)), tensor(np.ones((1, 2, 3, 4)))
    assert np.shares_memory(y.numpy(), x.numpy())
    assert y.grad_fn.backward(gy) is gy


def test_crop_with_one_number_for_both_axes():
    x = tensor(np.arange(25.0).reshape(1, 1, 5, 5))
    assert F.crop(x, 1, 2).numpy().tolist() == [[[[6, 7], [11, 12]]]]


x23 = tensor(np.zeros((1, 1, 2, 3)))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.pad(x23, 1), TypeError,
         r"pad: pad must be integers \(left, right\) or \(left, right, top, bottom\), got 1"),
        (lambda: F.pad(x23, (1, 2, 3)), TypeError, r"got \(1, 2, 3\)"),
        (lambda: F.pad(x23, (1, 1.5)), TypeError, r"got \(1, 1.5\)"),
        (lambda: F.pad(x23, (1, 1), "circular"), ValueError,
         r"pad: mode must be 'constant', 'reflect' or 'replicate', got 'circular'"),
        (lambda: F.pad(x23, (3, 0), "reflect"), ValueError,
         r"pad: mode 'reflect' needs pad below the image's size, got pad \(3, 0\) for x \(1, 1, 2"),
        (lambda: F.pad(x23, (0, 0, 2, 0), "reflect"), ValueError, r"got pad \(0, 0, 2, 0\)"),
        (lambda: F.pad(x23, (-1, 1), "replicate"), ValueError,
         r"pad: mode 'replicate' cannot crop, got pad \(-1, 1\)"),
        (lambda: F.pad(tensor(np.zeros((2, 3))), (1, 1)), ValueError, r"pad: x must have 4 axes"),
        (lambda: F.crop(x23, (0, 2), (2, 2)), ValueError,
         r"crop: the window of size \(2, 2\) at offset \(0, 2\) must lie inside x \(1, 1, 2, 3\)"),
        (lambda: F.crop(x23, (1, 0), (2, 2)), ValueError, r"at offset \(1, 0\)"),
        (lambda: F.crop(x23, -1, 1), ValueError, r"crop: offset must be at least 0, got -1"),
        (lambda: F.crop(x23, 0, 0), ValueError, r"crop: size must be at least 1, got 0"),
        (lambda: F.crop(tensor(np.zeros((2, 3))), 0, 1), ValueError, r"crop: x must have 4 axes"),
    ],
)  # fmt: skip
def test_errors_name_the_argument_and_the_numbers(call, error, message):
    with pytest.raises(error, match=message):
        call()
