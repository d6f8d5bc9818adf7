"""kernels/local_response_norm.cu against the NumPy twin in float64."""

import numpy as np
import pytest

CASES = [((2, 7, 5, 3), 5), ((1, 3, 4), 4), ((1, 2, 16, 16), 1), ((3, 5, 1, 17), 9)]
CASES += [((1, 1, 1), 2), ((2, 6, 10, 13), 3), ((0, 2, 3), 3)]


@pytest.mark.parametrize(("shape", "size"), CASES)
def test_local_response_norm(cuda, twin, numbers, close, stored, shape, size):
    x, gy = numbers(*shape, dtype=stored), numbers(*shape, dtype=stored)
    options = size, 0.7, 0.75, 1.5
    wide, wide_gy = x.astype("float64"), gy.astype("float64")
    close(cuda.local_response_norm(x, *options), twin.local_response_norm(wide, *options), size)
    # s ≥ 1, so that each of the terms of the gradient is at most |gy x²| of some channel.
    scale = abs(gy).max(initial=0) * (1 + abs(x).max(initial=0) ** 2)
    close(
        cuda.local_response_norm_grad(gy, x, *options),
        twin.local_response_norm_grad(wide_gy, wide, *options),
        size,
        scale,
    )


def test_half_beside_float32(cuda, numbers, same):
    x, gy = numbers(2, 2, 7, 4, 6, dtype="float16")
    options = 4, 0.7, 0.75, 1.5
    expected = cuda.local_response_norm_grad(gy, x, *options)
    same(cuda.local_response_norm_grad(gy.astype("float32"), x, *options), expected)
    same(cuda.local_response_norm_grad(gy, x.astype("float32"), *options), expected)


@pytest.mark.parametrize("where", ["aligned", "x", "results"])
def test_every_access_is_allowed(checked, twin, numbers, close, stored, unaligned, anywhere, where):
    x, gy = (np.ascontiguousarray(numbers(2, 7, 4, 6, dtype=stored)) for _ in range(2))
    x = unaligned(x) if where == "x" else x
    if where == "results":
        anywhere(checked)
    options = 4, 0.7, 0.75, 1.5
    wide = x.astype("float64")
    close(checked.local_response_norm(x, *options), twin.local_response_norm(wide, *options), 4)
    checked.local_response_norm_grad(gy, x, *options)
