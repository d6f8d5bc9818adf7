"""Convolution and its transpose, against loops, SciPy and published values."""

import itertools

import numpy as np
import pytest
import scipy.signal
from hypothesis import assume, given
from hypothesis import strategies as st

import tinyfcn.functional as F
from tinyfcn import Tensor, adjointcheck, gradcheck, gradgradcheck, tensor


def loops(x, weight, bias, stride, padding, dilation, groups):
    """The definition, one multiplication at a time, in float64."""
    n, c, h, w = x.shape
    oc, cg, kh, kw = weight.shape
    (sh, sw), (ph, pw), (dh, dw) = stride, padding, dilation
    oh = (h + 2 * ph - dh * (kh - 1) - 1) // sh + 1
    ow = (w + 2 * pw - dw * (kw - 1) - 1) // sw + 1
    y = np.zeros((n, oc, oh, ow))
    for o, i, j in itertools.product(range(oc), range(oh), range(ow)):
        first = o // (oc // groups) * cg
        for a, b in itertools.product(range(kh), range(kw)):
            row, col = i * sh - ph + a * dh, j * sw - pw + b * dw
            if 0 <= row < h and 0 <= col < w:
                y[:, o, i, j] += x[:, first : first + cg, row, col] @ weight[o, :, a, b]
        y[:, o, i, j] += bias[o]
    return y


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def cases(draw):
    """A convolution of small integers, so that float32 and float64 both compute it exactly."""
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    n, cg, og = draw(st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 3)))
    h, w = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    kernel, stride, dilation = draw(pairs), draw(pairs), draw(pairs)
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    for size, k, p, d in zip((h, w), kernel, padding, dilation, strict=True):
        assume(size + 2 * p >= d * (k - 1) + 1)
    x = rng.integers(-4, 5, (n, cg * groups, h, w)).astype("float64")
    weight = rng.integers(-4, 5, (og * groups, cg, *kernel)).astype("float64")
    bias = rng.integers(-4, 5, og * groups).astype("float64")
    return x, weight, bias, (stride, padding, dilation, groups)


def layouts(array):
    """The same values channels-last, channels-first, and as every other element of a larger one."""
    yield np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    yield array
    spread = np.full([2 * n for n in array.shape], np.nan, array.dtype)
    spread[::2, ::2, ::2, ::2] = array
    yield spread[::2, ::2, ::2, ::2]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(case=cases())
def test_forward_equals_the_loops_in_every_layout(dtype, case):
    x, weight, bias, window = case
    expected = loops(x, weight, bias, *window)
    for x_layout, w_layout in zip(
        layouts(x.astype(dtype)), layouts(weight.astype(dtype)), strict=True
    ):
        y = F.conv2d(Tensor(x_layout), Tensor(w_layout), tensor(bias.astype(dtype)), *window)
        assert y.dtype == dtype
        np.testing.assert_array_equal(y.numpy(), expected)


@given(case=cases())
def test_gradients_of_both_orders(case):
    x, weight, bias, window = case
    inputs = [tensor(a, requires_grad=True) for a in (x, weight, bias)]

    def fn(x, weight, bias):
        return F.conv2d(x, weight, bias, *window)

    # Linear in each input: differences with a large step are exact but for rounding.
    assert gradcheck(fn, inputs, eps=0.5, rtol=1e-9, directional=True)
    assert gradgradcheck(fn, inputs, eps=0.5, rtol=1e-9, directional=True)
    assert adjointcheck(lambda t: fn(t, inputs[1], inputs[2]), inputs[0])
    assert adjointcheck(lambda t: fn(inputs[0], t, inputs[2]), inputs[1])


@given(case=cases())
def test_a_fused_relu_changes_no_bit_of_value_or_gradient(case):
    x, weight, bias, window = case

    def run(fn):
        inputs = [tensor(a, "float32", requires_grad=True) for a in (x, weight, bias)]
        y = fn(*inputs)
        (y * y).sum().backward()
        return [y.numpy(), *(t.grad.numpy() for t in inputs)]

    fused = run(lambda x, w, b: F.conv2d(x, w, b, *window, relu=True))
    separate = run(lambda x, w, b: F.relu(F.conv2d(x, w, b, *window)))
    for a, b in zip(fused, separate, strict=True):
        np.testing.assert_array_equal(a, b)


def test_second_derivatives_through_a_fused_relu(rng):
    inputs = [
        tensor(rng.standard_normal(shape), requires_grad=True)
        for shape in ((1, 2, 4, 4), (3, 2, 3, 3), (3,))
    ]

    def fn(x, weight, bias):
        return F.conv2d(x, weight, bias, padding=1, relu=True)

    assert gradcheck(fn, inputs)
    assert gradgradcheck(fn, inputs, directional=True)


def test_full_gradcheck_of_one_case_with_everything(rng):
    x = tensor(rng.standard_normal((2, 4, 5, 4)), requires_grad=True)
    weight = tensor(rng.standard_normal((4, 2, 3, 2)), requires_grad=True)
    bias = tensor(rng.standard_normal(4), requires_grad=True)

    def fn(x, weight, bias):
        return F.conv2d(x, weight, bias, (2, 1), (1, 0), (1, 2), 2)

    assert gradcheck(fn, [x, weight, bias])


@given(case=cases(), extra=st.tuples(st.integers(0, 2), st.integers(0, 2)))
def test_transposed_convolution_is_the_adjoint_of_convolution(case, extra):
    x, weight, bias, (stride, padding, dilation, groups) = case
    for e, s, d in zip(extra, stride, dilation, strict=True):
        assume(e < max(s, d))
    y = F.conv2d(tensor(x), tensor(weight), None, stride, padding, dilation, groups)
    g = tensor(np.random.default_rng(1).integers(-3, 4, y.shape).astype("float64"))
    # Stamping the kernels one by one.
    n, c = x.shape[:2]
    oc, cg = weight.shape[:2]
    size = [
        (m - 1) * s - 2 * p + d * (k - 1) + e + 1
        for m, s, p, d, k, e in zip(
            y.shape[2:], stride, padding, dilation, weight.shape[2:], extra, strict=True
        )
    ]
    assume(min(size) >= 1)
    expected = np.zeros((n, c, *size))
    for o, i, j in itertools.product(range(oc), *map(range, y.shape[2:])):
        first = o // (oc // groups) * cg
        for a, b in itertools.product(*map(range, weight.shape[2:])):
            row = i * stride[0] - padding[0] + a * dilation[0]
            col = j * stride[1] - padding[1] + b * dilation[1]
            if 0 <= row < size[0] and 0 <= col < size[1]:
                stamp = g.numpy()[:, o, i, j, None] * weight[o, :, a, b]
                expected[:, first : first + cg, row, col] += stamp
    out = np.random.default_rng(2).integers(-3, 4, c).astype("float64")
    expected += out[:, None, None]
    args = (stride, padding, extra, groups, dilation)
    got = F.conv_transpose2d(g, tensor(weight), tensor(out), *args)
    np.testing.assert_array_equal(got.numpy(), expected)

    inputs = [tensor(a, requires_grad=True) for a in (g.numpy(), weight, out)]

    def fn(x, weight, bias):
        return F.conv_transpose2d(x, weight, bias, *args)

    assert gradcheck(fn, inputs, eps=0.5, rtol=1e-9, directional=True)
    assert gradgradcheck(fn, inputs, eps=0.5, rtol=1e-9, directional=True)
    assert adjointcheck(lambda t: fn(t, inputs[1], inputs[2]), inputs[0])
    assert adjointcheck(lambda t: fn(inputs[0], t, inputs[2]), inputs[1])


def test_scipy_agrees(rng):
    x, w = rng.standard_normal((3, 12, 11)), rng.standard_normal((2, 3, 4, 3))
    expected = [
        sum(scipy.signal.correlate2d(x[c], w[o, c], "valid") for c in range(3)) for o in (0, 1)
    ]
    y = F.conv2d(tensor(x[None]), tensor(w))
    np.testing.assert_allclose(y.numpy()[0], expected, rtol=1e-12, atol=1e-12)


def test_an_empty_batch_gives_an_empty_result_and_zero_weight_gradients():
    x = tensor(np.zeros((0, 3, 6, 7)), requires_grad=True)
    weight = tensor(np.ones((4, 3, 3, 3)), requires_grad=True)
    y = F.conv2d(x, weight, stride=2)
    y.sum().backward()
    assert y.shape == (0, 4, 2, 3)
    assert x.grad.shape == x.shape
    np.testing.assert_array_equal(weight.grad.numpy(), np.zeros(weight.shape))


def test_results_are_channels_last(rng):
    x = tensor(rng.standard_normal((2, 3, 6, 7)), requires_grad=True)
    weight = tensor(rng.standard_normal((4, 3, 3, 3)), requires_grad=True)
    y = F.conv2d(x, weight)
    y.sum().backward()
    for array in (y.data, x.grad.data, weight.grad.data):
        assert array.transpose(0, 2, 3, 1).flags.c_contiguous


def test_bilinear_golden_values():
    # Kernel size 4, stride 2, padding 1: the 2× bilinear upsampling of a row [a b c].
    tap = np.array([0.25, 0.75, 0.75, 0.25])
    weight = np.outer(tap, tap)
    assert weight[0, 0] == 0.0625 and weight[0, 1] == 0.1875 and weight[1, 1] == 0.5625
    a, b, c = 1.0, 10.0, 100.0
    x = tensor([[[[a, b, c]] * 3]], dtype="float64")
    y = F.conv_transpose2d(x, tensor(weight[None, None]), stride=2, padding=1)
    assert y.shape == (1, 1, 6, 6)
    row = [0.75 * a, 0.75 * a + 0.25 * b, 0.25 * a + 0.75 * b]
    row += [0.75 * b + 0.25 * c, 0.25 * b + 0.75 * c, 0.75 * c]
    np.testing.assert_allclose(y.numpy()[0, 0, 2], row, rtol=1e-15)
    np.testing.assert_allclose(y.numpy()[0, 0, 0], np.multiply(row, 0.75), rtol=1e-15)


X = tensor(np.zeros((1, 3, 32, 32), "float32"))


def weights(*shape, dtype="float32"):
    return tensor(np.zeros(shape, dtype))


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (
            ValueError,
            r"conv2d: weight expects 64 input channels \(groups=1\), but x has 3: "
            r"x \(1, 3, 32, 32\), weight \(128, 64, 3, 3\)",
            lambda: F.conv2d(X, weights(128, 64, 3, 3)),
        ),
        (ValueError, "conv2d: x must have 4 axes", lambda: F.conv2d(X[0], weights(4, 3, 3, 3))),
        (ValueError, "weight must have 4 axes", lambda: F.conv2d(X, weights(4, 3, 3))),
        (
            ValueError,
            r"bias must have shape \(4,\), got \(3,\)",
            lambda: F.conv2d(X, weights(4, 3, 3, 3), weights(3)),
        ),
        (
            ValueError,
            "stride must be at least 1, got 0",
            lambda: F.conv2d(X, weights(4, 3, 3, 3), stride=0),
        ),
        (
            TypeError,
            "padding must be an integer or two of them, got 1.5",
            lambda: F.conv2d(X, weights(4, 3, 3, 3), padding=1.5),
        ),
        (
            ValueError,
            "padding must be at least 0",
            lambda: F.conv2d(X, weights(4, 3, 3, 3), padding=(0, -1)),
        ),
        (
            ValueError,
            "groups must be an integer",
            lambda: F.conv2d(X, weights(4, 3, 3, 3), groups=0),
        ),
        (
            ValueError,
            "4 output channels do not divide into groups=3",
            lambda: F.conv2d(X, weights(4, 1, 3, 3), groups=3),
        ),
        (
            ValueError,
            "the kernel spans 33 pixels of height, but x has only 32",
            lambda: F.conv2d(X, weights(4, 3, 33, 3)),
        ),
        (
            TypeError,
            "x has dtype float32, but weight has float64",
            lambda: F.conv2d(X, weights(4, 3, 3, 3, dtype="float64")),
        ),
        (
            TypeError,
            "floating dtype, got int64",
            lambda: F.conv2d(tensor(np.zeros((1, 3, 4, 4), int)), weights(4, 3, 3, 3)),
        ),
        (
            ValueError,
            "conv_transpose2d: weight expects 4 input channels, but x has 3",
            lambda: F.conv_transpose2d(X, weights(4, 3, 3, 3)),
        ),
        (
            ValueError,
            "output_padding must be smaller than stride or dilation, got 2 with stride 2",
            lambda: F.conv_transpose2d(X, weights(3, 3, 3, 3), stride=2, output_padding=2),
        ),
        (
            ValueError,
            "padding 40 leaves -46 pixels of height",
            lambda: F.conv_transpose2d(X, weights(3, 3, 3, 3), padding=40),
        ),
        (
            ValueError,
            "3 input channels do not divide into groups=2",
            lambda: F.conv_transpose2d(X, weights(3, 3, 3, 3), groups=2),
        ),
    ],
)
def test_errors_name_the_op_the_argument_and_both_numbers(error, message, call):
    with pytest.raises(error, match=message):
        call()
