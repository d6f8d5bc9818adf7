"""Products on tensor cores: within what rounding their operands explains, and not more."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyfcn.backend.cuda import gemm
from tinyfcn.backend.errors import BackendError

PRODUCTS = ["tf32", "bf16", "fp16"]
SMALLEST = 2.0**-24  # above 0 in fp16


def check(got, exact, absolute, terms, product):
    """Each of two operands is off by its rounding, u, and a sum of float32 by eps a term.

    Tensor cores may cut where the emulator rounds, so eps is twice that of rounding; and in fp16
    operands below 6e-5 are off by half of the smallest number.
    """
    u, eps = gemm.ROUNDING[product], np.finfo(np.float32).eps
    bound = ((1 + u) ** 2 - 1) * absolute + terms * eps * (1 + u) ** 2 * absolute
    if product == "fp16":
        bound = bound + 8 * terms * SMALLEST
    assert got.shape == exact.shape and got.dtype == np.float32
    assert (np.abs(got - exact) <= bound).all(), (np.abs(got - exact) / bound).max()


def multiply(cuda, a, b, product):
    with gemm.products.using(product):
        return cuda.gemm(a, b)


def test_products_of_any_size(cuda, rng):
    sizes = st.tuples(*[st.integers(1, 140)] * 2, st.integers(1, 70))

    @given(sizes, st.sampled_from(PRODUCTS), st.booleans(), st.booleans())
    def run(size, product, turn_a, turn_b):
        m, n, k = size
        a, b = rng.standard_normal((m, k), np.float32), rng.standard_normal((k, n), np.float32)
        exact, absolute = (f(a.astype(float)) @ f(b.astype(float)) for f in (np.array, np.abs))
        a, b = a.copy("F" if turn_a else "C"), b.copy("F" if turn_b else "C")
        check(multiply(cuda, a, b, product), exact, absolute, k, product)

    run()


@pytest.mark.parametrize("product", PRODUCTS)
def test_rounding_is_what_the_type_has_and_no_more(cuda, product):
    """1 + u is kept, where u is the last digit, and 1 + u / 2 is not."""
    u = 2 * gemm.ROUNDING[product]
    a = np.float32([[1 + u, 1 + 3 * u / 8, 1 - u / 2]])
    np.testing.assert_array_equal(multiply(cuda, a.T, np.float32([[1]]), product)[:, 0],
                                  np.float32([1 + u, 1, 1 - u / 2]))  # fmt: skip
    large = multiply(cuda, np.float32([[1e5]]), np.float32([[1]]), product)
    assert np.isinf(large) if product == "fp16" else abs(large - 1e5) <= 1e5 * u / 2


@pytest.mark.parametrize("product", PRODUCTS)
def test_long_sums_are_cut_where_blocks_are_few(cuda, rng, product, monkeypatch):
    a, b = rng.standard_normal((70, 1100), np.float32), rng.standard_normal((1100, 131), np.float32)
    exact, absolute = a.astype(float) @ b, np.abs(a).astype(float) @ np.abs(b)
    results = []
    for processors in (1, 4, 132):
        monkeypatch.setattr(cuda.engine, "processors", processors, raising=False)
        results.append(multiply(cuda, a, b, product))
        check(results[-1], exact, absolute, 1100, product)
        np.testing.assert_array_equal(results[-1], multiply(cuda, a, b, product))
    assert not np.array_equal(results[0], results[-1])  # added up otherwise


def test_the_rule_for_shares(cuda, monkeypatch):
    monkeypatch.setattr(cuda.engine, "processors", 100, raising=False)
    assert cuda.shares(200, 10_000) == (1, 10_000)  # the device is full
    assert cuda.shares(199, 10_000) == (1, 10_000)
    assert cuda.shares(100, 10_000) == (2, 5008)  # a multiple of 16
    assert cuda.shares(1, 10_000) == (37, 272)  # of 256 terms at least
    assert cuda.shares(1, 255) == (1, 256)
    assert cuda.shares(0, 0) == (1, 0)


def test_float64_and_the_default_stay_as_they_are(cuda, rng, monkeypatch):
    monkeypatch.delenv("TINYFCN_CUDA_PRODUCTS", raising=False)
    assert gemm.products() == "float32"
    launched = []
    monkeypatch.setattr(cuda, "launch", lambda name, *_: launched.append(name))
    a = rng.standard_normal((3, 3))
    cuda.gemm(a.astype(np.float32), a.astype(np.float32))
    multiply(cuda, a, a, "bf16")
    multiply(cuda, a.astype(np.float32), a.astype(np.float32), "bf16")
    with gemm.algorithm.using("7"):
        cuda.gemm(a.astype(np.float32), a.astype(np.float32))
    assert launched == ["gemm_4", "gemm_4", "gemm_7<Bf16>", "gemm_7<Tf32>"]


def test_older_gpus_have_no_such_tensor_cores(cuda, monkeypatch):
    monkeypatch.setattr(cuda.engine, "capability", 75, raising=False)
    one = np.ones((1, 1), np.float32)
    with pytest.raises(
        BackendError, match=r"products in bf16: expected .* 8\.0 or later, got .* 7\.5"
    ):
        multiply(cuda, one, one, "bf16")
    with pytest.raises(
        ValueError, match="TINYFCN_CUDA_PRODUCTS: expected one of float32, tf32, bf16"
    ):
        multiply(cuda, one, one, "fp8")


@pytest.mark.parametrize("product", PRODUCTS)
def test_every_access_is_allowed_and_cheap(checked, product, rng, unaligned):
    a, b = rng.standard_normal((129, 48), np.float32), rng.standard_normal((48, 66), np.float32)
    exact, absolute = a.astype(float) @ b, np.abs(a).astype(float) @ np.abs(b)
    check(multiply(checked, a, b.copy("F"), product), exact, absolute, 48, product)
    check(multiply(checked, unaligned(a), a.T[:, :5], product)[:1], (a.astype(float) @ a.T)[:1, :5],
          (np.abs(a).astype(float) @ np.abs(a).T)[:1, :5], 48, product)  # fmt: skip
    for cost in checked.engine.profile():
        assert cost.memory == "global" or cost.factor == 1, cost
