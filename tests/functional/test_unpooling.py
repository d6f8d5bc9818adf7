"""Unpooling, against loops and published values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyfcn.functional as F
from tinyfcn import Tensor, adjointcheck, grad, gradcheck, gradgradcheck, tensor
from tinyfcn.backend.base import Backend


def scatter_loops(x, indices, size):
    y = np.zeros((*x.shape[:2], *size))
    for place in np.ndindex(x.shape):
        row, col = divmod(int(indices[place]), size[1])
        y[(*place[:2], row, col)] += x[place]
    return y


def pairs(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def cases(draw):
    """An image and a pooling that fits it."""
    kernel, stride = draw(pairs(1, 3)), draw(pairs(1, 3))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    size = tuple(draw(st.integers(k, k + 6)) for k in kernel)
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 3)), *size)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return rng.standard_normal(shape), kernel, stride, padding


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(case=cases())
def test_max_unpool_puts_maxima_back(dtype, case):
    x, kernel, stride, padding = case
    y, indices = F.max_pool2d(tensor(x), kernel, stride, padding, return_indices=True)
    y = Tensor(y.numpy().astype(dtype))
    # The size is told where windows end before the image does, or overlap its padding; how far it
    # may differ from the default is another test's business.
    axes = zip(y.shape[2:], kernel, stride, padding, strict=True)
    default = [(n - 1) * s - 2 * p + k for n, k, s, p in axes]
    assert all(abs(n - d) < s for n, d, s in zip(x.shape[2:], default, stride, strict=True))
    unpooled = F.max_unpool2d(y, indices, kernel, stride, padding, output_size=x.shape)
    assert unpooled.dtype == dtype
    expected = scatter_loops(y.numpy(), indices.numpy(), x.shape[2:])
    np.testing.assert_allclose(unpooled.numpy(), expected, rtol=1e-6)


def test_indices_of_the_pooling_take_the_fast_way(rng, monkeypatch):
    monkeypatch.delattr(Backend, "scatter_plane")
    for kernel, stride, padding in ((2, 2, 0), (3, 2, 1)):
        x = tensor(rng.standard_normal((2, 3, 9, 8)), requires_grad=True)
        y = F.max_pool2d(x, kernel, stride, padding)
        y.backward(np.ones(y.shape))
        assert x.grad.numpy().sum() == y.size
        y, indices = F.max_pool2d(x, kernel, stride, padding, return_indices=True)
        F.max_unpool2d(y, indices, kernel, stride, padding, x.shape)


@given(case=cases(), seed=st.integers(0, 99), dtype=st.sampled_from(["int32", "int64", "uint8"]))
def test_indices_from_anywhere_are_summed(case, seed, dtype):
    x, kernel, stride, padding = case
    y = F.max_pool2d(tensor(x), kernel, stride, padding).numpy()
    rng = np.random.default_rng(seed)
    indices = rng.integers(0, x.shape[2] * x.shape[3], y.shape).astype(dtype)
    leaf = tensor(y, requires_grad=True)

    def fn(y):
        return F.max_unpool2d(y, indices, kernel, stride, padding, x.shape[2:])

    expected = scatter_loops(y, indices, x.shape[2:])
    np.testing.assert_allclose(fn(leaf).numpy(), expected, rtol=1e-13, atol=1e-13)
    assert adjointcheck(fn, leaf)
    assert gradcheck(fn, leaf, directional=True)
    assert gradgradcheck(lambda y: fn(y) * fn(y), leaf, directional=True)


@given(case=cases())
def test_max_unpool_gradients_and_the_symmetry_with_pooling(case):
    x, kernel, stride, padding = case
    pooled, indices = F.max_pool2d(tensor(x), kernel, stride, padding, return_indices=True)
    y = tensor(pooled.numpy(), requires_grad=True)

    def fn(y):
        return F.max_unpool2d(y, indices, kernel, stride, padding, x.shape[2:])

    assert adjointcheck(fn, y)
    assert gradgradcheck(lambda y: fn(y) * fn(y), y, directional=True)

    # The gradient of unpooling is the gather: of the image that was pooled, it is the maxima.
    (gathered,) = grad(fn(y), y, tensor(x))
    np.testing.assert_array_equal(gathered.numpy(), pooled.numpy())
    # The gradient of pooling is unpooling.
    leaf = tensor(x, requires_grad=True)
    (scattered,) = grad(F.max_pool2d(leaf, kernel, stride, padding), leaf, y)
    np.testing.assert_array_equal(scattered.numpy(), fn(y).numpy())


def test_golden_unpooling():
    """2 × 2 pooling of [[1, 2], [3, 4]] and the three ways back."""
    y, indices = F.max_pool2d(tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), 2, return_indices=True)
    assert F.max_unpool2d(y, indices, 2).numpy().tolist() == [[[[0, 0], [0, 4]]]]
    assert F.unpool_bed_of_nails(y, 2).numpy().tolist() == [[[[4, 0], [0, 0]]]]
    assert F.unpool_nearest(y, 2).numpy().tolist() == [[[[4, 4], [4, 4]]]]


def test_overlapping_windows_with_one_maximum_add_up():
    x = tensor(np.pad(np.ones((1, 1, 1, 1)), ((0, 0), (0, 0), (2, 2), (2, 2))))
    y, indices = F.max_pool2d(x, 3, 2, return_indices=True)
    assert F.max_unpool2d(y, indices, 3, 2).numpy()[0, 0, 2, 2] == 4.0


def test_output_size_brings_odd_sizes_back(rng):
    """Two sizes pool to the same one; the default is the even one, and output_size says which."""
    for n in (5, 6):
        x = rng.standard_normal((1, 2, n, n))
        y, indices = F.max_pool2d(tensor(x), 2, ceil_mode=True, return_indices=True)
        assert y.shape == (1, 2, 3, 3)
        for size in [n, (n, n), (1, 2, n, n)]:
            unpooled = F.max_unpool2d(y, indices, 2, output_size=size).numpy()
            assert unpooled.shape == x.shape
            np.testing.assert_array_equal(unpooled, np.where(unpooled != 0, x, 0))
            assert (unpooled != 0).sum() == y.size


def test_infinite_values_stay_at_their_place():
    x = tensor(np.full((1, 1, 1, 1), np.inf))
    y = F.max_unpool2d(x, np.zeros((1, 1, 1, 1), int), 2).numpy()
    assert y.tolist() == [[[[np.inf, 0], [0, 0]]]]


@given(shape=st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)),
       factor=pairs(1, 4), spread=st.booleans())  # fmt: skip
def test_cells(shape, factor, spread):
    x = np.random.default_rng(4).standard_normal(shape)
    cell = np.ones((1, 1, *factor))
    corner = np.zeros((1, 1, *factor))
    corner[..., 0, 0] = 1
    leaf = tensor(x, requires_grad=True)
    given_x = tensor(np.repeat(x, 2, axis=3))[..., ::2] if spread else leaf
    for op, stamp in ((F.unpool_nearest, cell), (F.unpool_bed_of_nails, corner)):
        np.testing.assert_array_equal(op(given_x, factor).numpy(), np.kron(x, stamp))
        assert adjointcheck(lambda x, op=op: op(x, factor), leaf)
        assert gradcheck(lambda x, op=op: op(x, factor), leaf, directional=True)
        assert gradgradcheck(lambda x, op=op: op(x, factor) ** 2, leaf, directional=True)


@pytest.mark.parametrize("op", [F.unpool_nearest, F.unpool_bed_of_nails])
def test_cells_keep_float32_and_accept_empty_batches(op):
    x = tensor(np.ones((1, 2, 3, 4), "float32"), requires_grad=True)
    y = op(x, (2, 3))
    assert y.dtype == np.float32 and y.shape == (1, 2, 6, 12)
    y.backward(np.ones(y.shape, "float32"))
    assert x.grad.dtype == np.float32
    assert op(tensor(np.ones((0, 2, 3, 4))), 2).shape == (0, 2, 6, 8)


x22 = tensor(np.zeros((1, 1, 2, 2)))
zeros = np.zeros((1, 1, 2, 2), int)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.max_unpool2d(x22, zeros + 16, 2), ValueError,
         r"max_unpool2d: indices must lie in 0 … 15, the plane of the output size \(4, 4\); got 1"),
        (lambda: F.max_unpool2d(x22, zeros - 1, 2), ValueError, r"got -1 … -1"),
        (lambda: F.max_unpool2d(x22, zeros * 1.0, 2), TypeError,
         r"max_unpool2d: indices must be integers, got float64"),
        (lambda: F.max_unpool2d(x22, zeros[..., :1], 2), ValueError,
         r"max_unpool2d: indices have shape \(1, 1, 2, 1\), but x has \(1, 1, 2, 2\)"),
        (lambda: F.max_unpool2d(x22, zeros, 2, output_size=6), ValueError,
         r"max_unpool2d: output_size must differ from the default \(4, 4\) by less than the "
         r"stride \(2, 2\), got \(6, 6\)"),
        (lambda: F.max_unpool2d(x22, zeros, 2, output_size=(4, 2)), ValueError, r"got \(4, 2\)"),
        (lambda: F.max_unpool2d(x22, zeros, 2, output_size=(1, 3, 4, 4)), ValueError,
         r"output_size \(1, 3, 4, 4\) has other images or channels than x \(1, 1, 2, 2\)"),
        (lambda: F.max_unpool2d(x22, zeros, 0), ValueError,
         r"max_unpool2d: kernel_size must be at least 1, got 0"),
        (lambda: F.max_unpool2d(x22, zeros, 2, stride=0), ValueError, r"stride must be at least 1"),
        (lambda: F.max_unpool2d(x22, zeros, 2, padding=-1), ValueError, r"padding must be at"),
        (lambda: F.max_unpool2d(x22, zeros, 2, padding=2), ValueError,
         r"max_unpool2d: padding \(2, 2\) leaves an output of size \(0, 0\)"),
        (lambda: F.max_unpool2d(tensor(np.zeros((2, 2))), zeros, 2), ValueError,
         r"max_unpool2d: x must have 4 axes"),
        (lambda: F.unpool_nearest(x22, 0), ValueError,
         r"unpool_nearest: factor must be at least 1, got 0"),
        (lambda: F.unpool_bed_of_nails(x22, 1.5), TypeError,
         r"unpool_bed_of_nails: factor must be an integer or two of them, got 1.5"),
        (lambda: F.unpool_nearest(tensor(np.zeros(3)), 2), ValueError, r"x must have 4 axes"),
    ],
)  # fmt: skip
def test_errors_name_the_argument_and_the_numbers(call, error, message):
    with pytest.raises(error, match=message):
        call()
