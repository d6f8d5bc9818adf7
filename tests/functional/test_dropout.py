import numpy as np
import pytest

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import Tensor, adjointcheck, backend, gradcheck, gradgradcheck

MASK64 = 2**64 - 1


def splitmix64(seed, word):
    """Word ``word`` of SplitMix64, with Python's integers."""
    z = (seed + (word + 1) * 0x9E3779B97F4A7C15) & MASK64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK64
    return z ^ (z >> 31)


def kept(seed, i, p):
    half = (splitmix64(seed, i // 2) >> (32 * (i % 2))) & 0xFFFFFFFF
    return half >= round(p * 2**32)


def mask(size, p, seed):
    return backend.active().dropout(np.ones(size), p, seed) != 0


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_mask_element_by_element(p, dtype, rng):
    x = rng.standard_normal((2, 3, 5, 3)).astype(dtype)
    y = backend.active().dropout(x, p, seed=2**63 + 12345)
    assert y.dtype == dtype
    for n, c, h, w in np.ndindex(x.shape):
        i = ((n * 5 + h) * 3 + w) * 3 + c  # channels fastest
        value = x[n, c, h, w] / (1 - p) if kept(2**63 + 12345, i, p) else 0.0
        np.testing.assert_allclose(y[n, c, h, w], value, rtol=3 * np.finfo(dtype).eps)
    flat = backend.active().dropout(x[0, 0], p, seed=7)
    for i, (value, result) in enumerate(zip(x[0, 0].ravel(), flat.ravel(), strict=True)):
        assert (result != 0) == kept(7, i, p)
        assert result == 0 or abs(result / value - 1 / (1 - p)) < 1e-6 / (1 - p)


def test_no_seam_between_blocks():
    whole = mask(400_001, 0.5, seed=3)
    picked = np.r_[0:9, 131_060:131_090, 262_130:262_160, 399_990:400_001]
    assert [bool(whole[i]) for i in picked] == [kept(3, int(i), 0.5) for i in picked]


@pytest.mark.parametrize("p", [0.01, 0.3, 0.5, 0.8])
def test_share_of_dropped_elements(p):
    size = 1_000_000
    share = 1 - mask(size, p, seed=99).mean()
    assert abs(share - p) < 5 * np.sqrt(p * (1 - p) / size)


def test_neighbours_and_seeds_are_independent():
    size = 1_000_000
    a = mask(size, 0.5, seed=1).astype(float) - 0.5
    for b in (*(np.roll(a, k) for k in (1, 2, 3, 64, 4096)), mask(size, 0.5, seed=2) - 0.5):
        correlation = (a * b).mean() / 0.25
        assert abs(correlation) < 5 / np.sqrt(size)
    # Runs of eight bits: all 256 patterns equally often, by the χ² test (255 degrees of freedom).
    counts = np.bincount(np.packbits(a > 0), minlength=256)
    expected = size / 8 / 256
    assert abs(((counts - expected) ** 2 / expected).sum() - 255) < 5 * np.sqrt(2 * 255)


def test_mask_depends_neither_on_layout_nor_on_threads(monkeypatch, rng):
    x = rng.standard_normal((2, 16, 70, 80)).astype("float32")
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    results = []
    for threads, lying in (("1", x), ("3", x), ("1", last), ("2", last)):
        monkeypatch.setenv("TINYFCN_NUM_THREADS", threads)
        results.append(backend.active().dropout(lying, 0.4, 5))
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def test_seed_comes_from_the_generator():
    x = Tensor(np.ones(1000))
    first, second = F.dropout(x).numpy(), F.dropout(x).numpy()
    assert (first != second).any()
    tinyfcn.manual_seed(0)
    np.testing.assert_array_equal(F.dropout(x).numpy(), first)


def test_derivatives(rng):
    x = Tensor(rng.standard_normal((2, 3, 2, 2)), requires_grad=True)

    def repeat(op):
        def same_mask(t):
            tinyfcn.manual_seed(4)
            return op(t, 0.4)

        return same_mask

    for op in (F.dropout, F.dropout2d):
        assert 0 < (repeat(op)(x).numpy() == 0).mean() < 1
        assert gradcheck(repeat(op), x)
        assert gradgradcheck(repeat(op), x)
        assert adjointcheck(repeat(op), x)


def test_dropout2d_drops_whole_channels(rng):
    x = rng.uniform(1, 2, (20, 30, 4, 5)).astype("float32")
    y = F.dropout2d(Tensor(x), 0.25).numpy()
    assert y.dtype == np.float32
    ratio = y / x
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :, :1, :1], x.shape), rtol=1e-6)
    share = (ratio[:, :, 0, 0] == 0).mean()
    assert abs(share - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 600)
    np.testing.assert_allclose(ratio[ratio != 0], 4 / 3, rtol=1e-6)


@pytest.mark.parametrize("op", [F.dropout, F.dropout2d])
def test_limits(op, rng):
    x = Tensor(rng.standard_normal((2, 3, 4, 5)), requires_grad=True)
    assert op(x, 0.0) is x
    assert op(x, 0.5, training=False) is x
    y = op(x, 1.0)
    y.sum().backward()
    assert not y.numpy().any() and not x.grad.numpy().any()
    for p in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=f"{op.__name__}: p must be between 0 and 1, got {p}"):
            op(x, p)


def test_dropout2d_wants_images():
    with pytest.raises(ValueError, match=r"dropout2d: x must have 4 axes .* got shape \(3,\)"):
        F.dropout2d(Tensor(np.ones(3)))
