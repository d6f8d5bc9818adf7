"""kernels/activation.cu against the NumPy twin."""

import numpy as np
import pytest

COUNTS = [0, 1, 255, 256, 257, 1500]
EDGES = np.array([np.nan, np.inf, -np.inf, 0.0, 1e-30, -1e-30, 800.0, -800.0])


@pytest.mark.parametrize("count", COUNTS)
def test_copying_ones_give_the_bits_of_the_twin(cuda, twin, numbers, same, stored, count):
    x, gy = (numbers(count, dtype=stored) for _ in range(2))
    same(cuda.relu(x), twin.relu(x))
    same(cuda.relu_grad(gy, x), twin.relu_grad(gy, x))


def test_infinities_and_nan(cuda, twin, same, stored):
    x = EDGES.astype(stored)[::-1]
    same(cuda.relu(x), twin.relu(x))
    same(cuda.relu_grad(np.ones_like(x), x), twin.relu_grad(np.ones_like(x), x))


def test_an_array_without_axes(cuda):
    assert cuda.relu(np.float32(-3)).shape == ()


@pytest.mark.parametrize("where", ["aligned", "x", "gy", "results"])
def test_arrays_that_begin_anywhere(
    checked, twin, numbers, same, stored, unaligned, anywhere, where
):
    x, gy = numbers(2, 1031, dtype=stored)
    x, gy = (
        unaligned(x) if where == "x" else x.copy(),
        unaligned(gy) if where == "gy" else gy.copy(),
    )
    if where == "results":
        anywhere(checked)
    same(checked.relu(x), twin.relu(x))
    same(checked.relu_grad(gy, x), twin.relu_grad(gy, x))


def test_every_access_is_allowed(checked, twin, numbers, same, stored):
    x, gy = numbers(2, 3, 29, 7, dtype=stored), numbers(2, 3, 29, 7, dtype=stored)
    same(checked.relu(x), twin.relu(x))  # more elements than threads, so that each takes several
    same(checked.relu_grad(gy, x), twin.relu_grad(gy, x))


def test_half_of_a_gradient_beside_half_of_the_other(cuda, numbers, same):
    """Activations of two dtypes: what is float32 is rounded."""
    gy, y = numbers(2, 1031)
    gy[0] = 1e6
    half_gy, half_y = np.float16([np.inf, *gy[1:]]), y.astype("float16")
    expected = np.where(half_y > 0, half_gy, np.float16(0))
    for one, other in ((gy, half_y), (half_gy, half_y), (half_gy, half_y.astype("float32"))):
        same(cuda.relu_grad(one, other), expected)
