"""Products on tensor cores: within what rounding their operands explains, and not more."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tinyfcn.backend.base import Backend
from tinyfcn.backend.cuda import CudaBackend, gemm
from tinyfcn.backend.cuda.convolution import algorithm, checked_sizes, flat
from tinyfcn.backend.errors import BackendError
from tinyfcn.backend.half import narrow

PRODUCTS = ["tf32", "bf16", "fp16", "half"]  # "half": fp16 of arrays that are so already
SMALLEST = 2.0**-24  # above 0 in fp16


def rounding(product):
    return gemm.ROUNDING["fp16" if product == "half" else product]


def check(got, exact, absolute, terms, product, dtype=np.float32):
    """Each of two operands is off by its rounding, u, and a sum of float32 by eps a term.

    Tensor cores may cut where the emulator rounds, so eps is twice that of rounding; and in fp16
    operands below 6e-5 are off by half of the smallest number. So is a result of float16, which is
    rounded besides.
    """
    u, eps = rounding(product), np.finfo(np.float32).eps
    bound = ((1 + u) ** 2 - 1) * absolute + terms * eps * (1 + u) ** 2 * absolute
    if product in ("fp16", "half"):
        bound = bound + 8 * terms * SMALLEST
    if dtype == np.float16:
        bound = bound + u * (np.abs(exact) + bound) + SMALLEST / 2
    assert got.shape == exact.shape and got.dtype == dtype
    assert (np.abs(got - exact) <= bound).all(), (np.abs(got - exact) / bound).max()


def multiply(cuda, a, b, product):
    if product == "half":
        return cuda.gemm(narrow(a), narrow(b))
    with gemm.products.using(product):
        return cuda.gemm(a, b)


def check_product(cuda, a, b, product):
    exact, absolute = (f(a.astype(float)) @ f(b.astype(float)) for f in (np.array, np.abs))
    got = multiply(cuda, a, b, product)
    check(got, exact, absolute, len(b), product, np.float16 if product == "half" else np.float32)
    return got


def test_products_of_any_size(cuda, rng):
    sizes = st.tuples(*[st.integers(1, 140)] * 2, st.integers(1, 70))

    @given(sizes, st.sampled_from(PRODUCTS), st.booleans(), st.booleans())
    def run(size, product, turn_a, turn_b):
        m, n, k = size
        a, b = rng.standard_normal((m, k), np.float32), rng.standard_normal((k, n), np.float32)
        check_product(cuda, a.copy("F" if turn_a else "C"), b.copy("F" if turn_b else "C"), product)

    run()


@pytest.mark.parametrize("product", PRODUCTS)
def test_rounding_is_what_the_type_has_and_no_more(cuda, product):
    """1 + u is kept, where u is the last digit, and 1 + u / 2 is not."""
    u = 2 * rounding(product)
    a = np.float32([[1 + u, 1 + 3 * u / 8, 1 - u / 2]])
    np.testing.assert_array_equal(multiply(cuda, a.T, np.float32([[1]]), product)[:, 0],
                                  np.float32([1 + u, 1, 1 - u / 2]))  # fmt: skip
    large = multiply(cuda, np.float32([[1e5]]), np.float32([[1]]), product)
    assert np.isinf(large) if product in ("fp16", "half") else abs(large - 1e5) <= 1e5 * u / 2


@pytest.mark.parametrize("product", PRODUCTS)
def test_long_sums_are_cut_where_blocks_are_few(cuda, rng, product, monkeypatch):
    a, b = rng.standard_normal((70, 790), np.float32), rng.standard_normal((790, 9), np.float32)
    results = []
    for processors in (1, 16, 132):
        monkeypatch.setattr(cuda.engine, "processors", processors, raising=False)
        results.append(check_product(cuda, a, b, product))
        np.testing.assert_array_equal(results[-1], multiply(cuda, a, b, product))
    if product != "half":
        assert not np.array_equal(results[0], results[-1])  # added up otherwise


def test_the_rule_for_shares(cuda, monkeypatch):
    monkeypatch.setattr(cuda.engine, "processors", 100, raising=False)
    assert cuda.shares(200, 10_000) == (1, 10_016)  # the device is full
    assert cuda.shares(199, 10_000) == (1, 10_016)
    assert cuda.shares(100, 10_000) == (2, 5024)  # a multiple of 32
    assert cuda.shares(1, 10_000) == (35, 288)  # of 256 terms at least
    assert cuda.shares(1, 255) == (1, 256)
    assert cuda.shares(0, 0) == (1, 0)


def test_float64_and_the_default_stay_as_they_are(cuda, rng, monkeypatch):
    monkeypatch.delenv("TINYFCN_PRODUCTS", raising=False)
    assert gemm.products() == "float32"
    launched = []
    monkeypatch.setattr(cuda, "launch", lambda name, *_: launched.append(name))
    a = rng.standard_normal((3, 3))
    cuda.gemm(a.astype(np.float32), a.astype(np.float32))
    multiply(cuda, a, a, "bf16")
    multiply(cuda, a.astype(np.float32), a.astype(np.float32), "bf16")
    with gemm.algorithm.using("7"):
        cuda.gemm(a.astype(np.float32), a.astype(np.float32))
    multiply(cuda, a, a, "half")
    assert launched == ["gemm_4", "gemm_4", "gemm_7<Bf16>", "gemm_7<Tf32>", "gemm_7<Fp16>"]


def test_older_gpus_have_no_such_tensor_cores(cuda, monkeypatch):
    monkeypatch.setattr(cuda.engine, "capability", 75, raising=False)
    one = np.ones((1, 1), np.float32)
    with pytest.raises(
        BackendError, match=r"products in bf16: expected .* 8\.0 or later, got .* 7\.5"
    ):
        multiply(cuda, one, one, "bf16")
    with pytest.raises(ValueError, match="TINYFCN_PRODUCTS: expected one of float32, tf32, bf16"):
        multiply(cuda, one, one, "fp8")
    older, half = CudaBackend(cuda.engine), np.ones((1, 1, 1, 1), np.float16)
    y = older.conv2d(half, half, None, (1, 1), (0, 0), (1, 1), 1)
    assert y.dtype == older.matmul(half, half).dtype == np.float16 and y == 1


def test_matrix_products_of_float16(cuda, rng):
    """As a linear layer has them; and others."""
    a, b = rng.standard_normal((2, 9, 5), np.float32)
    for left, right in (a, b.T), (b, narrow(a).T):
        left, right = narrow(left), right[:, :3]
        one, other = left.astype(float), right.astype(float)
        exact, absolute = one @ other, np.abs(one) @ np.abs(other)
        check(cuda.matmul(left, right), exact, absolute, 5, "half", np.float16)
        check(cuda.matmul(left[None], right)[0], exact, absolute, 5, "half", np.float16)


@pytest.mark.parametrize("product", PRODUCTS)
def test_every_access_is_allowed_and_cheap(checked, product, rng, unaligned):
    a, b = rng.standard_normal((129, 48), np.float32), rng.standard_normal((48, 66), np.float32)
    check_product(checked, a, b.copy("F"), product)
    check_product(checked, unaligned(a), a.T[:, :5], product)
    for cost in checked.engine.profile():
        assert cost.memory == "global" or cost.factor == 1, cost


# ---- convolutions ----


def passes(backend, x, weight, bias, gy, window, relu=False):
    """The three passes, with bias and ReLU in the first and bias in the second."""
    kernel = weight.shape[2:]
    return (
        backend.conv2d(x, weight, bias, *window, relu=relu),
        backend.conv2d_input_grad(gy, weight, np.resize(bias, x.shape[1]), x.shape[2:], *window),
        backend.conv2d_weight_grad(x, gy, kernel, *window),
    )


def check_passes(cuda, x, weight, window, product, relu=False):
    """Draws arrays of these shapes and holds the passes on tensor cores to the exact ones."""
    rng = np.random.default_rng(0)
    x, weight = (rng.standard_normal(shape, np.float32) for shape in (x, weight))
    bias = rng.standard_normal(len(weight), np.float32)
    gy = rng.standard_normal(Backend().conv2d(x, weight, None, *window).shape, np.float32)
    if product == "half":  # which weights are rounded to
        x, gy = x.astype(np.float16), gy.astype(np.float16)
    arrays = x, weight, bias, gy
    exact = passes(Backend(), *(a.astype(float) for a in arrays), window, relu)
    absolute = passes(Backend(), *(np.abs(a.astype(float)) for a in arrays), window)
    area, groups = weight[0, 0].size, window[-1]
    counts = weight[0].size, len(weight) // groups * area, gy.size // len(weight)
    with gemm.products.using("fp16" if product == "half" else product), algorithm.using("tensor"):
        got = passes(cuda, *arrays, window, relu)
    dtypes = x.dtype, x.dtype, np.float32
    for result, *wanted, terms, dtype in zip(got, exact, absolute, counts, dtypes, strict=True):
        check(result, *wanted, terms + 1, product, dtype)
    return got


def test_convolutions_of_any_window(cuda):
    def pair(low, high):
        return st.tuples(*[st.integers(low, high)] * 2)

    @given(st.data(), st.sampled_from(PRODUCTS), st.sampled_from([1, 2]), pair(1, 9))
    def run(data, product, groups, channels):
        ranges = (1, 4), (1, 3), (0, 2), (1, 2)
        kernel, stride, padding, dilation = (data.draw(pair(*ends)) for ends in ranges)
        n, size = data.draw(st.integers(1, 2)), data.draw(pair(1, 12))
        for s, p, d, k in zip(size, padding, dilation, kernel, strict=True):
            assume(s + 2 * p > d * (k - 1))
        x, weight = (n, groups * channels[0], *size), (groups * channels[1], channels[0], *kernel)
        check_passes(cuda, x, weight, (stride, padding, dilation, groups), product)

    run()


@pytest.mark.parametrize("product", PRODUCTS)
def test_long_sums_of_convolutions_are_cut(cuda, product, monkeypatch):
    """All three passes, of which few blocks have many terms. The phases of a stride have fewer
    terms than others, and none in some shares."""
    launched = []
    each = cuda.launch.each
    monkeypatch.setattr(cuda.launch, "each", lambda *a: launched.append(a[0]) or each(*a))
    arguments = (1, 60, 9, 10), (130, 60, 3, 3), ((2, 2), (1, 1), (1, 1), 1), product
    first = check_passes(cuda, *arguments, relu=True)
    assert launched == 2 * [f"finish_parts<{'Fp16' if product == 'half' else 'Tf32'}>"]
    monkeypatch.setattr(cuda.engine, "processors", 1, raising=False)
    whole = check_passes(cuda, *arguments, relu=True)
    assert launched == 2 * [f"finish_parts<{'Fp16' if product == 'half' else 'Tf32'}>"]
    assert first[0].min() == whole[0].min() == 0  # what ReLU cuts off
    launched.clear()
    monkeypatch.setattr(cuda.engine, "processors", 16, raising=False)
    check_passes(cuda, (2, 9, 18, 20), (9, 9, 3, 3), ((1, 1), (1, 1), (1, 1), 1), product)
    assert launched == ["sum_parts"]


def test_a_window_of_one_pixel_makes_an_image_a_row():
    plain = checked_sizes("conv2d", (1, 2, 6, 8), (1, 3, 6, 8), (1, 1, 1, 1, 0, 0, 1, 1, 1))
    assert flat(plain) == plain._replace(h=1, w=48, oh=1, ow=48)
    for other in ({"kh": 3, "oh": 4}, {"sh": 2, "oh": 3}, {"ph": 1, "oh": 8}):
        assert flat(plain._replace(**other)) == plain._replace(**other)


@pytest.mark.parametrize("product", PRODUCTS)
def test_every_access_of_convolutions_is_allowed_and_cheap(checked, product):
    window = (1, 1), (1, 1), (1, 1), 1
    check_passes(checked, (2, 6, 9, 7), (65, 6, 3, 3), window, product)
    check_passes(checked, (1, 6, 8, 5), (10, 3, 2, 3), ((2, 3), (1, 2), (1, 2), 2), product)
    check_passes(checked, (1, 5, 3, 8), (6, 5, 1, 1), ((1, 2), (0, 0), (1, 1), 1), product)
    check_passes(checked, (2, 16, 4, 6), (8, 16, 1, 1), ((1, 1), (0, 0), (1, 1), 1), product)
    # rows of pixels, of which vectors begin anywhere, and end beyond the image on both sides
    check_passes(checked, (2, 3, 5, 8), (9, 3, 3, 3), window, product)
    check_passes(checked, (1, 4, 6, 12), (6, 2, 2, 5), ((2, 1), (1, 2), (1, 2), 2), product)
    for cost in checked.engine.profile():
        assert cost.memory == "global" or cost.factor == 1, cost
