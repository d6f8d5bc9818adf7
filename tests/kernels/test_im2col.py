"""Columns by the definition, and back by the adjoint."""

import numpy as np
import pytest

WINDOWS = [  # size, kernel, stride, padding, dilation
    ((1, 1), (1, 1), (1, 1), (0, 0), (1, 1)),
    ((5, 7), (3, 2), (1, 1), (1, 0), (1, 1)),
    ((9, 8), (2, 3), (2, 3), (0, 2), (3, 1)),
    ((6, 11), (4, 1), (3, 1), (3, 1), (1, 2)),
    ((3, 3), (3, 3), (2, 2), (4, 4), (2, 2)),
]


def positions(size, kernel, stride, padding, dilation):
    """Row and column that each tap of each window looks at: two (KH, KW, OH, OW)."""
    axes = []
    for s, k, t, p, d in zip(size, kernel, stride, padding, dilation, strict=True):
        out = (s + 2 * p - d * (k - 1) - 1) // t + 1
        axes.append(np.arange(out) * t - p + np.arange(k)[:, None] * d)
    return axes[0][:, None, :, None], axes[1][None, :, None, :]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3, 0])
@pytest.mark.parametrize("size, kernel, stride, padding, dilation", WINDOWS)
def test_columns_and_back(
    cuda, size, kernel, stride, padding, dilation, channels, dtype, rng, within_rounding
):
    h, w = size
    rows, columns = positions(size, kernel, stride, padding, dilation)
    inside = (rows >= 0) & (rows < h) & (columns >= 0) & (columns < w)
    out = inside.shape[2:]
    sizes = 1, channels, h, w, 1, *out, *kernel, *stride, *padding, *dilation, 1

    x = rng.standard_normal((channels, h, w)).astype(dtype)
    got = np.empty((channels, *inside.shape), dtype)
    cuda.launch.each("im2col", got.size, x, got, *sizes)
    expected = np.where(inside, x[:, rows.clip(0, h - 1), columns.clip(0, w - 1)], 0)
    np.testing.assert_array_equal(got, expected)

    back = np.empty_like(x)
    cuda.launch.each("col2im", back.size, got, back, *sizes)
    exact, rows, columns = np.zeros(x.shape), *np.broadcast_arrays(rows, columns)
    np.add.at(exact, (slice(None), rows[inside], columns[inside]), got[:, inside])
    within_rounding(back, exact, np.abs(exact), kernel[0] * kernel[1])
