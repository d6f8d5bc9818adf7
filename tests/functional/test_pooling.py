"""Max and average pooling, against loops over the definition and published values."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import tinyfcn.functional as F
from tinyfcn import Tensor, adjointcheck, backend, gradcheck, gradgradcheck, no_grad, tensor
from tinyfcn.backend.base import Backend
from tinyfcn.backend.cpu import pooling as primitives


def output_size(n, k, s, p, d, ceil_mode):
    """Count windows: each starts s after the last one; stop where one would no longer fit."""
    count = 0
    while True:
        start = count * s - p
        fits = start + d * (k - 1) < n + p
        if ceil_mode:
            # Round up: a window may stick out by less than a stride, if it starts before n.
            fits = start + d * (k - 1) < n + p + s - 1 and start < n
        if not fits:
            return count
        count += 1


def window_pixels(size, window, i, j):
    """The pixels of window (i, j), in reading order."""
    kernel, stride, padding, dilation = window
    for a, b in itertools.product(range(kernel[0]), range(kernel[1])):
        h = i * stride[0] - padding[0] + a * dilation[0]
        w = j * stride[1] - padding[1] + b * dilation[1]
        if 0 <= h < size[0] and 0 <= w < size[1]:
            yield h, w


def max_loops(x, window, ceil_mode):
    n, c, h, w = x.shape
    size = [output_size(*axis, ceil_mode) for axis in zip((h, w), *window, strict=True)]
    y, indices = np.zeros((n, c, *size)), np.zeros((n, c, *size), int)
    for image, channel, i, j in np.ndindex(y.shape):
        best = None
        for row, col in window_pixels((h, w), window, i, j):
            value = x[image, channel, row, col]
            if best is None or value > best or np.isnan(value):
                best = value
                indices[image, channel, i, j] = row * w + col
        y[image, channel, i, j] = best
    return y, indices


def layouts(array):
    """The same values channels-first, channels-last, and as every other element of a larger one."""
    yield array
    yield np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    spread = np.full([2 * n for n in array.shape], 99, array.dtype)
    spread[::2, ::2, ::2, ::2] = array
    yield spread[::2, ::2, ::2, ::2]


def pairs(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def cases(draw, dilated=True):
    """(x shape, (kernel, stride, padding, dilation), ceil_mode), each window with some pixel."""
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 3)), *draw(pairs(1, 9)))
    kernel, stride = draw(pairs(1, 4)), draw(pairs(1, 4))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    dilation = draw(pairs(1, 3)) if dilated else (1, 1)
    window, ceil_mode = (kernel, stride, padding, dilation), draw(st.booleans())
    size = [output_size(*axis, ceil_mode) for axis in zip(shape[2:], *window, strict=True)]
    assume(min(size) > 0)
    for i, j in np.ndindex(*size):
        assume(any(True for _ in window_pixels(shape[2:], window, i, j)))
    return shape, window, ceil_mode


def distinct(shape, seed=0):
    """Numbers far enough apart that the difference quotient changes no maximum."""
    return np.random.default_rng(seed).permutation(math.prod(shape)).reshape(shape) / 7.0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(case=cases(), seed=st.integers(0, 99), special=st.sampled_from([0, np.nan, -np.inf]))
def test_max_pool_equals_the_loops_in_every_layout(dtype, case, seed, special):
    shape, (kernel, stride, padding, dilation), ceil_mode = case
    rng = np.random.default_rng(seed)
    x = rng.integers(-2, 3, shape).astype(dtype)  # few values, so many ties
    x[rng.random(shape) < 0.3] = special
    expected, expected_indices = max_loops(x, case[1], ceil_mode)
    arguments = (kernel, stride, padding, dilation, ceil_mode)
    for layout in layouts(x):
        y, indices = F.max_pool2d(Tensor(layout), *arguments, return_indices=True)
        assert y.dtype == dtype and indices.dtype == np.int32 and not indices.requires_grad
        np.testing.assert_array_equal(y.numpy(), expected)
        np.testing.assert_array_equal(indices.numpy(), expected_indices)
    with no_grad():
        np.testing.assert_array_equal(F.max_pool2d(Tensor(x), *arguments).numpy(), expected)


@given(case=cases())
def test_max_pool_gradient_goes_to_the_maxima(case):
    shape, (kernel, stride, padding, dilation), ceil_mode = case
    x = tensor(distinct(shape), requires_grad=True)
    y = F.max_pool2d(x, kernel, stride, padding, dilation, ceil_mode)
    gy = np.random.default_rng(1).standard_normal(y.shape)
    y.backward(gy)
    _, indices = max_loops(x.numpy(), case[1], ceil_mode)
    expected = np.zeros(shape)
    for image, channel, i, j in np.ndindex(y.shape):
        place = divmod(indices[image, channel, i, j], shape[3])
        expected[(image, channel, *place)] += gy[image, channel, i, j]
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-14, atol=1e-14)


@given(case=cases(), return_indices=st.booleans())
def test_max_pool_gradients_of_both_orders(case, return_indices):
    shape, (kernel, stride, padding, dilation), ceil_mode = case
    x = tensor(distinct(shape), requires_grad=True)

    def fn(x):
        result = F.max_pool2d(x, kernel, stride, padding, dilation, ceil_mode, return_indices)
        y = result[0] if return_indices else result
        return y * y  # so that the second derivative is not zero

    assert gradcheck(fn, x, directional=True)
    assert gradgradcheck(fn, x, directional=True)


@pytest.mark.parametrize("block", [1, 60, 400])  # a row, several, two images
def test_blocks_join_without_a_seam(rng, monkeypatch, block):
    """Windows that overlap reach into the rows of the next block."""
    x = rng.standard_normal((5, 3, 23, 9))
    monkeypatch.setattr(primitives, "BLOCK", block)
    monkeypatch.delattr(Backend, "scatter_plane")
    inner = tensor(x, requires_grad=True)
    y, indices = F.max_pool2d(inner, 3, 2, 1, return_indices=True)
    expected, expected_indices = max_loops(x, ((3, 3), (2, 2), (1, 1), (1, 1)), False)
    np.testing.assert_array_equal(y.numpy(), expected)
    np.testing.assert_array_equal(indices.numpy(), expected_indices)
    y.backward(np.ones(y.shape))
    counts = np.zeros((5, 3, 23 * 9))
    for place, index in np.ndenumerate(expected_indices):
        counts[(*place[:2], index)] += 1
    np.testing.assert_array_equal(inner.grad.numpy().reshape(5, 3, -1), counts)
    gathered = backend.active().gather_plane(x, indices.data)
    np.testing.assert_array_equal(gathered, expected)


def test_infinite_gradients_stay_at_their_place():
    x = tensor(distinct((1, 1, 4, 4)), requires_grad=True)
    F.max_pool2d(x, 2).backward(np.full((1, 1, 2, 2), np.inf))
    assert np.isinf(x.grad.numpy()).sum() == 4
    assert (x.grad.numpy() == 0).sum() == 12


def test_window_with_more_than_256_elements(rng):
    x = rng.standard_normal((1, 2, 20, 19))
    y, indices = F.max_pool2d(tensor(x), (18, 17), 1, return_indices=True)
    expected, expected_indices = max_loops(x, ((18, 17), (1, 1), (0, 0), (1, 1)), False)
    np.testing.assert_array_equal(y.numpy(), expected)
    np.testing.assert_array_equal(indices.numpy(), expected_indices)


@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "padding", "dilation"),
    [((2, 2, 1, 300), (1, 256), 1, 0, 1), ((1, 2, 300, 3), (256, 1), 1, (128, 0), 1),
     ((1, 1, 17, 40), (16, 16), 1, 8, 1), ((1, 1, 20, 257), (1, 257), 3, (0, 128), 1),
     ((1, 1, 2, 1001), (1, 1000), 1, 0, 1), ((1, 1, 4, 700), (2, 256), 2, (1, 3), (1, 2)),
     ((1, 1, 66_000, 1), (256, 1), 256, 0, (257, 1)), ((1, 2, 5, 6), 1, 1, 0, 2**31),
     ((1, 2, 5, 6), (1, 2), 2, 0, (2**40, 2)), ((1, 2, 5, 6), 3, 2**40, 1, 1)],
)  # fmt: skip
def test_a_window_of_any_size(shape, kernel, stride, padding, dilation, rng):
    values = rng.integers(-3, 4, shape).astype("float32")  # few, so that many are equal
    found = {}
    for name in ("reference", "numpy"):
        with backend.using(name):
            x = tensor(values, requires_grad=True)
            y, indices = F.max_pool2d(x, kernel, stride, padding, dilation, return_indices=True)
            (y * y).sum().backward()
            found[name] = y.numpy(), indices.numpy(), x.grad.numpy()
    for got, wanted in zip(found["numpy"], found["reference"], strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_large_rows_keep_their_indices():
    """Index arithmetic must not stay in the small dtype of the tap numbers."""
    x = np.zeros((1, 1, 3, 70_000), "float32")
    x[0, 0, 2, 69_999] = 1
    _, indices = F.max_pool2d(tensor(x), (3, 2), return_indices=True)
    assert indices.numpy()[0, 0, 0, -1] == 3 * 70_000 - 1


@pytest.mark.parametrize(
    ("n", "k", "s", "ceil_mode", "out"),
    [(5, 2, 2, True, 3), (5, 2, 2, False, 2), (7, 3, 2, True, 3), (7, 3, 2, False, 3),
     (6, 3, 2, True, 3), (6, 3, 2, False, 2), (1, 2, 2, True, 1)],
)  # fmt: skip
def test_known_sizes(n, k, s, ceil_mode, out):
    """The sizes of Caffe (which rounds up) and PyTorch (which rounds down)."""
    x = tensor(np.zeros((1, 1, n, n)))
    assert F.max_pool2d(x, k, s, ceil_mode=ceil_mode).shape == (1, 1, out, out)
    assert F.avg_pool2d(x, k, s, ceil_mode=ceil_mode).shape == (1, 1, out, out)


def test_last_window_starts_inside_the_image_or_its_left_padding():
    # Rounded up there would be 3 windows, at −1, 2 and 5; the last one starts outside.
    x = tensor(np.arange(5.0).reshape(1, 1, 1, 5))
    y = F.max_pool2d(x, (1, 3), (1, 3), (0, 1), ceil_mode=True)
    np.testing.assert_array_equal(y.numpy()[0, 0, 0], [1.0, 4.0])


def test_golden_max_pool():
    y, indices = F.max_pool2d(tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), 2, return_indices=True)
    assert y.item() == 4 and indices.item() == 3


# ---- average pooling ----


def average_loops(x, window, ceil_mode, count_include_pad):
    n, c, h, w = x.shape
    kernel, stride, padding, _ = window
    size = [output_size(*axis, ceil_mode) for axis in zip((h, w), *window, strict=True)]
    y = np.zeros((n, c, *size))
    for i, j in np.ndindex(*size):
        total, count = np.zeros((n, c)), 0
        for a, b in itertools.product(range(kernel[0]), range(kernel[1])):
            row, col = i * stride[0] - padding[0] + a, j * stride[1] - padding[1] + b
            inside = 0 <= row < h and 0 <= col < w
            padded = row < h + padding[0] and col < w + padding[1]
            if inside:
                total += x[:, :, row, col]
            count += inside or (count_include_pad and padded)
        y[:, :, i, j] = total / count
    return y


@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-5), ("float64", 1e-13)])
@given(case=cases(dilated=False), count_include_pad=st.booleans())
def test_average_pool_equals_the_loops_in_every_layout(dtype, rtol, case, count_include_pad):
    shape, (kernel, stride, padding, _), ceil_mode = case
    x = np.random.default_rng(2).standard_normal(shape).astype(dtype)
    expected = average_loops(x.astype("float64"), case[1], ceil_mode, count_include_pad)
    for layout in layouts(x):
        y = F.avg_pool2d(Tensor(layout), kernel, stride, padding, ceil_mode, count_include_pad)
        assert y.dtype == dtype
        np.testing.assert_allclose(y.numpy(), expected, rtol=rtol, atol=rtol)


@given(case=cases(dilated=False), count_include_pad=st.booleans())
def test_average_pool_gradients(case, count_include_pad):
    shape, (kernel, stride, padding, _), ceil_mode = case
    x = tensor(distinct(shape), requires_grad=True)

    def fn(x):
        return F.avg_pool2d(x, kernel, stride, padding, ceil_mode, count_include_pad)

    assert adjointcheck(fn, x)
    assert gradcheck(fn, x, directional=True)
    assert gradgradcheck(lambda x: fn(x) * fn(x), x, directional=True)


def test_average_of_a_large_image(rng):
    """Several blocks of rows and columns."""
    x = rng.standard_normal((2, 3, 150, 131))
    y = F.avg_pool2d(tensor(x), 2)
    expected = x[:, :, :, :130].reshape(2, 3, 75, 2, 65, 2).mean((3, 5))
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-13, atol=1e-13)


@given(shape=st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
       size=pairs(1, 11))  # fmt: skip
def test_adaptive_average_pool(shape, size):
    x = np.random.default_rng(3).standard_normal(shape)
    expected = np.zeros((*shape[:2], *size))
    for i, j in np.ndindex(*size):
        rows = slice(math.floor(i * shape[2] / size[0]), math.ceil((i + 1) * shape[2] / size[0]))
        columns = slice(math.floor(j * shape[3] / size[1]), math.ceil((j + 1) * shape[3] / size[1]))
        expected[:, :, i, j] = x[:, :, rows, columns].mean((2, 3))
    for layout in layouts(x):
        y = F.adaptive_avg_pool2d(Tensor(layout), size)
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-13, atol=1e-13)
    leaf = tensor(x, requires_grad=True)
    assert adjointcheck(lambda x: F.adaptive_avg_pool2d(x, size), leaf)
    assert gradgradcheck(lambda x: F.adaptive_avg_pool2d(x, size) ** 2, leaf, directional=True)


def test_adaptive_output_size_forms(rng):
    x = tensor(rng.standard_normal((1, 2, 4, 6)))
    assert F.adaptive_avg_pool2d(x, 3).shape == (1, 2, 3, 3)
    assert F.adaptive_avg_pool2d(x, (None, 2)).shape == (1, 2, 4, 2)
    np.testing.assert_allclose(F.adaptive_avg_pool2d(x, None).numpy(), x.numpy(), rtol=1e-15)


def test_an_empty_batch_is_allowed():
    x = tensor(np.zeros((0, 2, 4, 4)), requires_grad=True)
    assert F.max_pool2d(x, 2).shape == F.avg_pool2d(x, 2).shape == (0, 2, 2, 2)
    F.max_pool2d(x, 2).backward(np.zeros((0, 2, 2, 2)))
    assert x.grad.shape == x.shape


x44 = tensor(np.zeros((1, 1, 4, 4)))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.max_pool2d(x44, 2, padding=2), ValueError,
         r"max_pool2d: padding \(2, 2\) must be at most half the kernel_size \(2, 2\)"),
        (lambda: F.avg_pool2d(x44, (2, 3), padding=(0, 2)), ValueError,
         r"avg_pool2d: padding \(0, 2\) must be at most half the kernel_size \(2, 3\)"),
        (lambda: F.max_pool2d(x44, 5), ValueError,
         r"max_pool2d: the window spans 5 pixels of height, but x has only 4 with padding 0"),
        (lambda: F.max_pool2d(x44, (1, 3), dilation=2), ValueError,
         r"max_pool2d: the window spans 5 pixels of width, but x has only 4 with padding 0"),
        (lambda: F.max_pool2d(x44, 0), ValueError,
         r"max_pool2d: kernel_size must be at least 1, got 0"),
        (lambda: F.max_pool2d(x44, 2, stride=0), ValueError,
         r"max_pool2d: stride must be at least 1, got 0"),
        (lambda: F.max_pool2d(x44, 2, dilation=0), ValueError,
         r"max_pool2d: dilation must be at least 1, got 0"),
        (lambda: F.avg_pool2d(x44, 2, padding=-1), ValueError,
         r"avg_pool2d: padding must be at least 0, got -1"),
        (lambda: F.avg_pool2d(x44, 2.5), TypeError,
         r"avg_pool2d: kernel_size must be an integer or two of them, got 2.5"),
        (lambda: F.max_pool2d(tensor(np.zeros((1, 1, 1, 2))), 2, padding=1, dilation=2),
         ValueError, r"max_pool2d: with dilation \(2, 2\) and padding \(1, 1\) a window has no"),
        (lambda: F.max_pool2d(tensor(np.zeros((1, 1, 4, 2))), 2, padding=1, dilation=3),
         ValueError, r"max_pool2d: with dilation \(3, 3\) and padding \(1, 1\) a window has no"),
        (lambda: F.max_pool2d(tensor(np.zeros((4, 4))), 2), ValueError,
         r"max_pool2d: x must have 4 axes \(N, C, H, W\), got shape \(4, 4\)"),
        (lambda: F.max_pool2d(tensor(np.zeros((1, 1, 4, 4), int)), 2), TypeError,
         r"max_pool2d: x must have a floating dtype, got int64"),
        (lambda: F.adaptive_avg_pool2d(x44, 0), ValueError,
         r"adaptive_avg_pool2d: output_size must be at least 1"),
        (lambda: F.adaptive_avg_pool2d(x44, (1, 2, 3)), TypeError,
         r"adaptive_avg_pool2d: output_size must be an integer or two of them, got \(1"),
    ],
)  # fmt: skip
def test_errors_name_the_argument_and_the_numbers(call, error, message):
    with pytest.raises(error, match=message):
        call()
