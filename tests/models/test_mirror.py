"""Mirrored borders of any width, against NumPy's."""

import numpy as np
import pytest

import tinyfcn
from tinyfcn.models.mirror import mirror


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (4, 1), (7, 9)])
def test_mirrors_are_those_of_numpy(rng, size):
    x = rng.standard_normal((2, 3, *size))
    for left, right, top, bottom in ((0, 0, 0, 0), (3, 20, 1, 9), (11, 0, 0, 2)):
        y = mirror(tinyfcn.tensor(x), (left, right, top, bottom)).numpy()
        borders = ((0, 0), (0, 0), (top, bottom), (left, right))
        assert np.array_equal(y, np.pad(x, borders, "reflect"))
