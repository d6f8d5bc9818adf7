"""U-Net's weights of pixels, against distances counted pixel by pixel."""

import math

import numpy as np
import pytest

from tinyfcn.data import border_weights


def by_loops(cells, class_weights, w0, sigma):
    weights = np.zeros(cells.shape)
    for i, j in np.ndindex(*cells.shape):
        if cells[i, j]:
            weights[i, j] = class_weights[1]
            continue
        distances = sorted(
            min(math.dist((i, j), place) for place in np.argwhere(cells == cell))
            for cell in set(cells.ravel().tolist()) - {0}
        )
        gap = sum(distances[:2]) if len(distances) > 1 else math.inf
        weights[i, j] = class_weights[0] + w0 * math.exp(-(gap**2) / (2 * sigma**2))
    return weights


def test_the_formula(rng):
    for number in (0, 1, 2, 5):
        cells = np.zeros((20, 25), int)
        for cell in range(number):
            i, j = rng.integers(0, 18), rng.integers(0, 22)
            cells[i : i + 4, j : j + 5] = cell + 100  # any numbers will do
        weights = border_weights(cells, (0.5, 2.0), 7.0, 3.0)
        assert weights.dtype == np.float32
        assert np.allclose(weights, by_loops(cells, (0.5, 2.0), 7.0, 3.0), rtol=1e-6)


def test_published_constants():
    """A gap of one pixel: d1 = d2 = 1, so 1 + 10 exp(-4 / 50)."""
    assert border_weights(np.array([[3, 0, 7]]))[0, 1] == pytest.approx(1 + 10 * math.exp(-0.08))


def test_errors():
    with pytest.raises(ValueError, match=r"cells must be \(H, W\), got shape \(1, 2, 2\)"):
        border_weights(np.zeros((1, 2, 2), int))
    with pytest.raises(TypeError, match="cells must be whole numbers, got float64"):
        border_weights(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="sigma must be above 0, got 0"):
        border_weights(np.zeros((2, 2), int), sigma=0)
