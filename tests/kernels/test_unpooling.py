"""kernels/unpooling.cu against the NumPy twin."""

import numpy as np
import pytest

CASES = [((2, 3, 4, 5), (2, 3)), ((1, 1, 1, 1), (1, 1)), ((1, 2, 16, 16), (1, 2))]
CASES += [((3, 1, 7, 6), (3, 1)), ((2, 2, 9, 11), (4, 5)), ((0, 2, 3, 3), (2, 2))]


@pytest.mark.parametrize(("shape", "factor"), CASES)
def test_unpooling(cuda, twin, numbers, same, close, dtype, shape, factor):
    x = numbers(*shape, dtype=dtype)
    gy = numbers(*shape[:2], shape[2] * factor[0], shape[3] * factor[1], dtype=dtype)
    for name in ("unpool_nearest", "unpool_bed_of_nails"):
        same(getattr(cuda, name)(x, factor), getattr(twin, name)(x, factor))
    name = "unpool_bed_of_nails_adjoint"
    same(getattr(cuda, name)(gy, factor), getattr(twin, name)(gy, factor))
    expected = twin.unpool_nearest_adjoint(gy.astype("float64"), factor)
    scale = twin.unpool_nearest_adjoint(np.abs(gy, dtype="float64"), factor)
    close(cuda.unpool_nearest_adjoint(gy, factor), expected, factor[0] * factor[1], scale)


def test_every_access_is_allowed(checked, twin, numbers, same):
    x, gy = numbers(2, 3, 9, 11), numbers(2, 3, 18, 33)
    for name in ("unpool_nearest", "unpool_bed_of_nails"):
        same(getattr(checked, name)(x, (2, 3)), getattr(twin, name)(x, (2, 3)))
    name = "unpool_bed_of_nails_adjoint"
    same(getattr(checked, name)(gy, (2, 3)), getattr(twin, name)(gy, (2, 3)))
    checked.unpool_nearest_adjoint(gy, (2, 3))
