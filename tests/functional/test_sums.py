"""Sums of very many numbers, over any axes: no op adds them one after the other in float32."""

import numpy as np
import pytest

import tinyfcn.functional as F
from tinyfcn import backend, tensor

MANY = 600_000
TENTH = np.full(MANY, 0.1, "float32")


def rows(*shape):
    return tensor(np.broadcast_to(np.float32(0.1), shape))


def gradient(function, shape):
    """Of the sum of what it gives, times 0.1."""
    leaf = tensor(np.zeros(shape, "float32"), requires_grad=True)
    y = function(leaf)
    y.backward(np.full(y.shape, 0.1, "float32"))
    return leaf.grad


SUMS = {
    "of rows": lambda: F.sum(tensor(TENTH.reshape(-1, 2)), 0) * 2,
    "of views": lambda: F.sum(tensor(TENTH.reshape(-1, 3))[::-1][:, ::2], 0) * 3,
    "of pixels": lambda: F.sum(rows(1, MANY // 8, 8, 2).permute(0, 3, 1, 2), (0, 2, 3)),
    "of two axes": lambda: F.sum(rows(600, 1000, 3), (0, 1)),
    "of outer axes": lambda: F.sum(rows(600, 2, 1000, 2).permute(1, 2, 3, 0), (1, 3)),
    "as a mean": lambda: F.mean(rows(MANY, 3), 0) * MANY,
    "of a bias": lambda: gradient(lambda b: rows(MANY, 2) + b, (2,)),
    "of a linear bias": lambda: gradient(
        lambda b: F.linear(rows(MANY, 2), tensor(np.ones((3, 2), "float32")), b), (3,)
    ),
    "of a convolution's bias": lambda: gradient(
        lambda b: F.conv2d(rows(1, 1, MANY // 4, 4), rows(2, 1, 1, 1), b), (2,)
    ),
    "of an element": lambda: gradient(lambda x: x[np.zeros(MANY, int)], (1,)),
    "at a place": lambda: F.max_unpool2d(
        rows(1, 1, MANY // 4, 4), tensor(np.zeros((1, 1, MANY // 4, 4), "int32")), 1
    )[0, 0, 0, 0],
}  # fmt: skip


@pytest.mark.parametrize("used", ["numpy", "reference"])
@pytest.mark.parametrize("name", SUMS)
def test_sums_are_as_exact_as_pairwise_ones(name, used):
    """Added one after the other, so many tenths are 59,000 or so in float32."""
    with backend.using(used):
        found = SUMS[name]().numpy()
    np.testing.assert_allclose(found, MANY * float(np.float32(0.1)), rtol=4e-6)


PRODUCTS = {
    "of a linear weight": lambda: gradient(lambda w: F.linear(rows(MANY, 2), w), (3, 2)),
    "of a matrix": lambda: rows(2, MANY) @ rows(MANY, 3),
    "of a depthwise weight": lambda: gradient(
        lambda w: F.conv2d(rows(1, 2, MANY, 1), w, groups=2), (2, 1, 1, 1)
    ),
    "of a 1x1 weight": lambda: gradient(
        lambda w: F.conv2d(rows(1, 2, MANY // 4, 4), w), (3, 2, 1, 1)
    ),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_sums_of_products(name):
    """BLAS adds up some thousand of them in float32."""
    np.testing.assert_allclose(
        PRODUCTS[name]().numpy(), MANY * float(np.float32(0.1)) ** 2, rtol=2e-4
    )
