"""kernels/dropout.cu: the very mask of the NumPy twin."""

import numpy as np
import pytest

from tinyfcn.backend.splitmix import random_numbers

SHAPES = [
    (1,),
    (255,),
    (256,),
    (257,),
    (1500,),
    (3, 5, 7),
    (2, 3, 5, 7),
    (1, 1, 16, 16),
    (2, 7, 9, 11),
    (3, 1, 9, 11),
]


@pytest.mark.parametrize("p", [0.5, 0.1, 1 - 1e-12])
@pytest.mark.parametrize("shape", [*SHAPES, (0, 3, 2, 2)])
def test_bits_of_the_twin(cuda, twin, numbers, same, stored, shape, p):
    x = numbers(*shape, dtype=stored)
    for seed in (0, 1234567, 2**64 - 1):
        same(cuda.dropout(x, p, seed), twin.dropout(x, p, seed))


def test_a_random_number_at_the_threshold_is_kept(cuda, twin, same):
    x = np.ones(6, "float32")
    for number in random_numbers(np, 5, 0, 3):
        p = number / 2**32
        same(cuda.dropout(x, p, 5), twin.dropout(x, p, 5))


def test_what_is_dropped_is_zero_whatever_stood_there(cuda):
    y = cuda.dropout(np.full(999, np.nan, "float32"), 0.5, 3)
    assert 400 < (y == 0).sum() < 600
    assert np.isnan(y[y != 0]).all()


@pytest.mark.parametrize("where", ["aligned", "x", "y"])
def test_every_access_is_allowed(checked, twin, numbers, same, stored, unaligned, anywhere, where):
    x = np.ascontiguousarray(numbers(2, 3, 13, 11, dtype=stored))
    if where == "y":
        anywhere(checked)
    same(checked.dropout(unaligned(x) if where == "x" else x, 0.3, 7), twin.dropout(x, 0.3, 7))
