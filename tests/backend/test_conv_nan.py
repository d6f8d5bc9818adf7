"""∞ and NaN under the algorithms of convolution: which pixels they reach."""

import numpy as np
import pytest

import tinyfcn.functional as F
from tinyfcn import tensor
from tinyfcn.backend.cpu import conv

# kernel, stride, padding, dilation, groups, channels, size
CASES = {
    "3x3": (3, 1, 1, 1, 1, 8, 12),
    "many channels": (3, 1, 1, 1, 1, 256, 24),
    "dilated": (3, 1, 2, 2, 1, 8, 14),
    "strided": (3, 2, 1, 1, 1, 8, 13),
    "large": (16, 8, 4, 1, 1, 8, 32),
    "5x5": (5, 1, 2, 1, 1, 8, 12),
    "1x1": (1, 1, 0, 1, 1, 8, 9),
    "depthwise": (3, 1, 1, 1, 8, 8, 12),
    "groups": (3, 1, 1, 1, 4, 16, 12),
}


def reached(function, x, special):
    """Which outputs are not finite when one element of x is not, and which see it."""
    at = (0, 0, *(n // 2 for n in x.shape[2:]))
    x, mark = x.copy(), np.zeros_like(x)
    x[at], mark[at] = special, 1
    with np.errstate(invalid="ignore", over="ignore"):
        return ~np.isfinite(function(x)), function(mark) != 0


def passes(case, transposed, rng):
    """The forward pass and the gradient of pixels, each with what goes in."""
    k, s, p, d, groups, c, n = CASES[case]
    weight = tensor(rng.uniform(0.5, 1, (c, c // groups, k, k)).astype("float32"))
    x = rng.standard_normal((1, c, n, n)).astype("float32")

    def forward(x):
        if transposed:
            return F.conv_transpose2d(x, weight, None, s, p, 0, groups, d)
        return F.conv2d(x, weight, None, s, p, d, groups)

    def gradient(gy):
        leaf = tensor(x, requires_grad=True)
        forward(leaf).backward(gy)
        return leaf.grad.numpy()

    yield lambda x: forward(tensor(x)).numpy(), x
    yield gradient, rng.standard_normal(forward(tensor(x)).shape).astype("float32")


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", conv.EXACT)
def test_under_these_only_who_sees_them_is_reached(name, case, transposed, special, rng):
    if case == "many channels" and transposed:
        case = "3x3"
    with conv.algorithm.using(name):
        for function, x in passes(case, transposed, rng):
            got, seen = reached(function, x, special)
            np.testing.assert_array_equal(got, seen)


@pytest.mark.parametrize("name", ["auto", *conv.ALGORITHMS])
@pytest.mark.parametrize("case", ["3x3", "dilated", "groups"])
def test_who_sees_them_is_reached_under_all(name, case, rng):
    """And beyond it nothing further than a tile away, as the package says."""
    with conv.algorithm.using(name):
        for function, x in passes(case, False, rng):
            got, seen = reached(function, x, np.nan)
            assert got[seen].all()
            rows, columns = np.nonzero(got.any((0, 1)))
            near = 6 * CASES[case][3]
            assert np.ptp(rows) < 2 * near and np.ptp(columns) < 2 * near


def test_winograd_spreads_them_and_tiles_do_not(rng):
    counts = {}
    for name in ("winograd2", "winograd4", "tiles"):
        with conv.algorithm.using(name):
            function, x = next(passes("3x3", False, rng))
            got, _ = reached(function, x, np.nan)
            counts[name] = int(got[0, 0].sum())
    assert counts["tiles"] == 9  # and these also reach the rest of their tiles
    assert counts["winograd2"] == 9  # here; how many depends on where in its tiles the pixel lies
    assert counts["winograd4"] >= 16
