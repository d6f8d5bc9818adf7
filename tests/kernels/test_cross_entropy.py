"""kernels/cross_entropy.cu against the NumPy twin in float64."""

import numpy as np
import pytest

from tinyfcn.backend import half

SHAPES = [(1, 1), (257, 3), (2, 21, 5, 7), (3, 2, 16, 16), (2, 5, 17, 31), (2, 3, 0, 4)]


def labels_for(rng, shape):
    """Some −1, and not contiguous."""
    labels = rng.integers(-1, shape[1], (2, *shape[:1], *shape[2:])).astype("int32")
    return np.moveaxis(labels, 0, -1)[..., 0]


@pytest.mark.parametrize("shape", SHAPES)
def test_loss_and_gradient(cuda, twin, numbers, rng, close, stored, shape):
    x, labels = 5 * numbers(*shape, dtype=stored), labels_for(rng, shape)
    gy = numbers(*labels.shape, dtype=half.wide(stored))
    wide = x.astype("float64")
    largest = 2 * np.abs(x).max(initial=1)  # exp(v) is as exact as v, which is off by eps · |v|
    close(cuda.cross_entropy(x, labels), twin.cross_entropy(wide, labels), shape[1], largest)
    expected = twin.cross_entropy_grad(gy.astype("float64"), wide, labels)
    gx = cuda.cross_entropy_grad(gy, x, labels)
    assert gx.dtype == x.dtype
    close(
        gx,
        expected,
        shape[1],
        largest * np.abs(gy).max(initial=0),
    )


def test_large_and_not_finite(cuda, twin, dtype):
    x = np.array([[1e4, -1e4], [-1e4, 1e4], [np.inf, 0], [np.nan, 0], [0, -np.inf]], dtype)
    labels = np.array([0, 1, 1, 1, 0], "int32")
    gy = np.ones(5, dtype)
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(
            cuda.cross_entropy(x, labels), twin.cross_entropy(x, labels), rtol=1e-6
        )
        np.testing.assert_allclose(
            cuda.cross_entropy_grad(gy, x, labels),
            twin.cross_entropy_grad(gy, x, labels),
            rtol=1e-6,
        )


@pytest.mark.parametrize("near", [1e4, -1e4])
def test_losses_are_small_beside_large_logits(cuda, twin, near):
    """log Σ exp(x) is near the logits, of which a float has three decimals: not so the loss."""
    x = (near + np.array([[0, 0.5, 2], [1, 0, 0.25]])).astype("float32")  # exact
    labels = np.array([2, 1], "int32")
    expected = twin.cross_entropy(x.astype("float64"), labels)
    np.testing.assert_allclose(cuda.cross_entropy(x, labels), expected, rtol=1e-6)


def test_what_does_not_count_is_zero_whatever_stands_there(cuda):
    x, labels = np.full((3, 2), np.nan, "float32"), np.full(3, -1, "int32")
    assert (cuda.cross_entropy(x, labels) == 0).all()
    assert (cuda.cross_entropy_grad(np.ones(3, "float32"), x, labels) == 0).all()


def test_every_access_is_allowed(checked, twin, numbers, rng, same, stored):
    x, labels = numbers(2, 3, 17, 19, dtype=stored), labels_for(rng, (2, 3, 17, 19))
    values = numbers(*labels.shape, dtype=half.wide(stored))
    loss, gx = checked.cross_entropy(x, labels), checked.cross_entropy_grad(values, x, labels)
    np.testing.assert_allclose(loss, twin.cross_entropy(x, labels), rtol=1e-5, atol=1e-6)
    expected = twin.cross_entropy_grad(values, x, labels)
    np.testing.assert_allclose(gx, expected, rtol=1e-5 if stored != "float16" else 1e-3, atol=1e-6)
