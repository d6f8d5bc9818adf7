"""kernels/max_pool.cu against the NumPy twin."""

import numpy as np
import pytest

from tinyfcn.functional.sizes import pool_size

# shape, kernel, stride, padding, dilation, ceil_mode
WINDOWS = [
    ((2, 3, 8, 9), (2, 2), (2, 2), (0, 0), (1, 1), False),
    ((2, 3, 9, 7), (3, 2), (2, 3), (1, 1), (1, 1), True),
    ((1, 2, 17, 16), (3, 3), (1, 1), (1, 1), (1, 1), False),
    ((2, 1, 13, 11), (3, 3), (2, 1), (1, 1), (2, 3), False),
    ((3, 2, 4, 5), (2, 3), (3, 4), (0, 1), (1, 1), True),
    ((1, 1, 1, 1), (1, 1), (1, 1), (0, 0), (1, 1), False),
    ((1, 1, 40, 43), (3, 3), (2, 2), (0, 0), (1, 1), True),
    ((1, 2, 7, 6), (5, 4), (1, 2), (2, 2), (1, 1), False),
    ((2, 3, 9, 12), (2, 2), (2, 2), (0, 0), (1, 1), False),
    ((1, 2, 7, 8), (2, 2), (2, 2), (0, 0), (1, 1), True),
    ((1, 3, 4, 12), (2, 2), (2, 2), (0, 0), (1, 1), False),
    ((2, 2, 6, 8), (2, 2), (2, 2), (0, 0), (1, 1), False),
    ((1, 2, 6, 10), (2, 2), (2, 2), (0, 0), (1, 1), False),
    ((0, 2, 4, 4), (2, 2), (2, 2), (0, 0), (1, 1), False),
]


def output_size(shape, kernel, stride, padding, dilation, ceil_mode):
    return tuple(
        pool_size(*axis, ceil_mode)
        for axis in zip(shape[2:], kernel, stride, padding, dilation, strict=True)
    )


@pytest.mark.parametrize("case", WINDOWS)
def test_pool_scatter_and_gather(cuda, twin, numbers, rng, close, same, stored, case):
    shape, *window, ceil_mode = case
    size = output_size(*case)
    x = numbers(*shape, dtype=stored)
    x = np.round(x * 2)  # with ties
    expected, where = twin.max_pool2d(x, size, *window, True)
    y, indices = cuda.max_pool2d(x, size, *window, True)
    same(y, expected)
    same(indices, where)
    y, none = cuda.max_pool2d(x, size, *window, False)
    same(y, expected)
    assert none is None

    g = numbers(*y.shape, dtype=stored)
    wide = twin.scatter_plane(g.astype("float64"), where, shape[2:], *window)
    scale = twin.scatter_plane(np.abs(g, dtype="float64"), where, shape[2:], *window)
    scattered = cuda.scatter_plane(g, where, shape[2:], *window)
    close(scattered, wide, 9, scale)
    same(cuda.scatter_plane(g, where, shape[2:], *window, own=True), scattered)
    same(cuda.gather_plane(x, where), twin.gather_plane(x, where))


@pytest.mark.parametrize("case", WINDOWS)
def test_scatter_of_any_indices(cuda, twin, numbers, rng, close, stored, case):
    shape, *window, ceil_mode = case
    g = numbers(*shape[:2], *output_size(*case), dtype=stored)
    indices = rng.integers(0, shape[2] * shape[3], g.shape)  # int64, as a user's may be
    indices[:, -1] //= 4  # often one pixel for many
    wide = twin.scatter_plane(g.astype("float64"), indices, shape[2:], *window)
    scale = twin.scatter_plane(np.abs(g, dtype="float64"), indices, shape[2:], *window)
    close(cuda.scatter_plane(g, indices, shape[2:], *window), wide, g.size, scale)
    x = numbers(*shape, dtype=stored)
    np.testing.assert_array_equal(cuda.gather_plane(x, indices), twin.gather_plane(x, indices))


def test_gather_does_not_follow_indices_outside_of_the_plane(checked, numbers):
    indices = np.array([-(2**31), -1, 0, 5, 6, 2**31 - 1], "int32").reshape(1, 1, 2, 3)
    x = numbers(1, 1, 2, 3)
    expected = [np.nan, np.nan, x[0, 0, 0, 0], x[0, 0, 1, 2], np.nan, np.nan]
    np.testing.assert_array_equal(checked.gather_plane(x, indices).reshape(-1), expected)


@pytest.mark.parametrize("number", [2**32, -(2**32), 2**32 + 5, 2**33 - 1])
def test_an_index_of_64_bits_is_not_cut_to_one_in_the_plane(cuda, numbers, number):
    x, window = numbers(1, 1, 2, 3), ((1, 1), (1, 1), (0, 0), (1, 1))
    indices = np.array([0, 5, number, 3, 2, 1]).reshape(1, 1, 2, 3)
    for given in (indices, indices.astype("u8")):
        assert np.flatnonzero(np.isnan(cuda.gather_plane(x, given))).tolist() == [2]
        y = cuda.scatter_plane(x, given, (2, 3), *window)
        expected = [x.flat[i] for i in (0, 5, 4, 3)]
        assert y.reshape(-1).tolist() == [*expected, 0, x.flat[1]]
    assert cuda.gather_plane(x, np.full(x.shape, 4, "i1")).flat[0] == x.flat[4]


@pytest.mark.parametrize("case", WINDOWS)
def test_pooled_indices_are_not_foreign(cuda, twin, numbers, case):
    """Else the result would be right and slow."""
    shape, *window, ceil_mode = case
    _, where = twin.max_pool2d(numbers(*shape), output_size(*case), *window, True)
    assert not foreign_planes(cuda, where, shape[3], window).any()


@pytest.mark.parametrize("number", [1, 127, 128, 255, 256, 305])
def test_one_foreign_index_in_one_plane(cuda, twin, numbers, close, number):
    window = (2, 2), (2, 2), (0, 0), (1, 1)
    x = numbers(2, 2, 36, 34)
    y, where = twin.max_pool2d(x, (18, 17), *window, True)
    where[1, 0, number // 17, number % 17] = 0
    assert foreign_planes(cuda, where, 34, window).tolist() == [0, 0, 1, 0]
    expected = twin.scatter_plane(y.astype("float64"), where, (36, 34), *window)
    close(cuda.scatter_plane(y, where, (36, 34), *window), expected, 2)


def foreign_planes(cuda, where, width, window):
    n, c, *size = where.shape
    foreign = cuda.empty((n * c,), np.int32)
    pairs = [number for pair in window for number in pair]
    where = np.ascontiguousarray(where)
    cuda.launch("any_foreign", n * c, 256, where, foreign, width, *size, *pairs)
    return foreign


def test_not_finite(cuda, twin, numbers, same, stored):
    x = numbers(1, 4, 6, 8, dtype=stored)
    x[0, 0, 1, 1] = x[0, 0, 2, 2] = x[0, 0, 0, 1] = np.nan
    x[0, 1] = -np.inf
    x[0, 2, ::2] = np.inf
    x[0, 3] = np.nan
    for kernel, padding in (((3, 3), (0, 0)), ((3, 3), (1, 1)), ((2, 2), (0, 0))):
        case = x.shape, kernel, (2, 2), padding, (1, 1), False
        window = (*case[1:5], True)
        expected, where = twin.max_pool2d(x, output_size(*case), *window)
        y, indices = cuda.max_pool2d(x, output_size(*case), *window)
        same(y, expected)
        same(indices, where)


@pytest.mark.parametrize("where", ["aligned", "x", "results"])
def test_arrays_that_begin_anywhere(
    checked, twin, numbers, same, stored, unaligned, anywhere, where
):
    """Windows of 2 × 2 are read by 128 bits."""
    x = np.ascontiguousarray(numbers(2, 3, 6, 8, dtype=stored))
    x, window = unaligned(x) if where == "x" else x, ((3, 4), (2, 2), (2, 2), (0, 0), (1, 1), True)
    if where == "results":
        anywhere(checked)
    for got, expected in zip(
        checked.max_pool2d(x, *window), twin.max_pool2d(x, *window), strict=True
    ):
        same(got, expected)
    accesses = sum(c.accesses for c in checked.engine.profile() if c.access == "reads")
    assert accesses == x.nbytes // (16 if where == "aligned" else x.itemsize)
    y, indices = twin.max_pool2d(x, *window)
    y, indices = (unaligned(a) if where == "x" else a for a in (y, indices))
    window = (6, 8), *window[1:5]
    given = y, indices, *window
    same(checked.scatter_plane(*given, own=True), twin.scatter_plane(*given))


def test_planes_too_large_for_int32_are_rejected(cuda):
    x = np.broadcast_to(np.float32(0), (1, 1, 2**16, 2**15))
    with pytest.raises(ValueError, match="max_pool2d: kernels take planes of fewer than 2³¹"):
        cuda.max_pool2d(x, (1, 1), (1, 1), (1, 1), (0, 0), (1, 1), False)


@pytest.mark.parametrize("case", [*WINDOWS[:5], *WINDOWS[-7:-1]])
def test_every_access_is_allowed(checked, twin, numbers, same, stored, case):
    shape, *window, ceil_mode = case
    x, size = numbers(*shape, dtype=stored), output_size(*case)
    y, where = checked.max_pool2d(x, size, *window, True)
    same(where, twin.max_pool2d(x, size, *window, True)[1])
    same(checked.gather_plane(x, where), y)
    checked.scatter_plane(y, where, shape[2:], *window)
    where[-1] = 0  # foreign
    checked.scatter_plane(y, where, shape[2:], *window)
