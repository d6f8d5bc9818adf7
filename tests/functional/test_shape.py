"""Indexing hands every gradient back to where its element came from."""

import numpy as np
import pytest

import tinyfcn
from tinyfcn import tensor

INDICES = {
    "a window": (slice(None), slice(1, 3)),
    "everything": (slice(None), slice(None)),
    "every other": (slice(None, None, 2), slice(1, None, 2)),
    "backwards": (slice(None), slice(None, None, -1)),
    "one": (1, 2),
    "a new axis": (None, slice(None), 1),
    "in another order": ([2, 0, 1],),
    "one several times": ([0, 0, 2], [1, 1, 1]),
}


@pytest.mark.parametrize("name", INDICES)
def test_indexing(name):
    index = INDICES[name]
    x = tensor(np.arange(12.0).reshape(3, 4), requires_grad=True)
    y = x[index]
    places = np.arange(12).reshape(3, 4)[index]
    np.testing.assert_array_equal(y.numpy(), places)
    gy = np.random.default_rng(0).normal(size=places.shape)
    (gx,) = tinyfcn.grad(y, x, tensor(gy))
    expected = np.bincount(places.ravel(), gy.ravel(), minlength=12).reshape(3, 4)
    np.testing.assert_allclose(gx.numpy(), expected, rtol=1e-14)


def test_sizes_are_whole_numbers():
    with pytest.raises(TypeError, match=r"reshape: shape must be integers, got \(2\.0, 6\)"):
        tensor(np.zeros(12)).reshape(2.0, 6)
