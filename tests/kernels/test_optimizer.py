"""kernels/optimizer.cu against the NumPy twin in float64."""

import numpy as np
import pytest

from tinyfcn.backend.cuda import CudaBackend
from tinyfcn.backend.cuda.emulator import Emulator, KernelError
from tinyfcn.backend.cuda.optimizer import SHARE

SHAPES = [(), (1,), (255,), (256,), (257,), (1500,), (4, 3, 2, 5), (0,)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("momentum", [None, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd(cuda, twin, numbers, close, dtype, shape, momentum, nesterov):
    names = "param", "grad", "velocity"
    arrays = {name: np.asarray(numbers(*shape, dtype=dtype)) for name in names}
    if momentum is None:
        arrays["velocity"] = None
    options = momentum or 0.0, 0.7, 0.1, 0.01, nesterov
    hold(cuda.sgd_update, twin.sgd_update, arrays, options, close)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("shrink", [1.0, 0.99])
def test_adam(cuda, twin, numbers, close, dtype, shape, shrink):
    names = "param", "grad", "first", "second"
    arrays = {name: np.asarray(numbers(*shape, dtype=dtype)) for name in names}
    np.abs(arrays["second"], out=arrays["second"])
    options = 0.1, 0.9, 0.999, 0.5, 1e-8, 0.01, shrink
    hold(cuda.adam_update, twin.adam_update, arrays, options, close)


def hold(update, twin_update, arrays, options, close):
    """Three steps of both; afterwards the arrays that were given hold the result."""
    wide = [None if a is None else np.array(a, "float64", order="C") for a in arrays.values()]
    given = list(arrays.values())
    for _ in range(3):
        assert update(*([a] for a in given), *options) is None
        twin_update(*([a] for a in wide), *options)
    for actual, expected in zip(given, wide, strict=True):
        if actual is not None:
            # Adam divides by √v, which makes what is small large: m / √v is at most some hundred.
            close(np.asarray(actual, order="C"), expected, 16, 1 + np.abs(expected) * 30)


def test_arrays_that_lie_differently(cuda, twin, numbers):
    param, grad, velocity = (
        numbers(2, 3, 4, 5),
        numbers(2, 3, 4, 5).copy("C"),
        numbers(5, 4, 3, 2).T,
    )
    assert len({a.strides for a in (param, grad, velocity)}) == 3
    expected = param.copy(), grad.copy(), velocity.copy()
    cuda.sgd_update([param], [grad], [velocity], 0.9, 1.0, 0.1, 0.0, False)
    twin.sgd_update(*([a] for a in expected), 0.9, 1.0, 0.1, 0.0, False)
    for actual, wanted in zip((param, grad, velocity), expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-5)


def test_one_minus_beta_is_not_taken_in_float32(cuda):
    arrays = [[np.ones(1, "float32")] for _ in range(4)]
    second = arrays[3][0]
    second[0] = 0
    cuda.adam_update(*arrays, 0.0, 0.9, 0.9999, 1.0, 1e-8, 0.0, 1.0)
    assert second[0] == np.float32(1 - 0.9999)


UPDATES = {
    "sgd_update": (3, (0.9, 1.0, 0.1, 0.01, True)),
    "adam_update": (4, (0.1, 0.9, 0.99, 0.5, 1e-8, 0.01, 0.99)),
}


@pytest.mark.parametrize("name", UPDATES)
def test_many_arrays_have_the_same_bits_as_one_by_one(cuda, numbers, dtype, name):
    """Of more and fewer elements than a block changes, and of none, also at either end."""
    count, options = UPDATES[name]
    shapes = [(0,), (3,), (2 * SHARE,), (), (0, 4), (SHARE - 1,), (5, 3, 3, 30), (SHARE + 1,), (0,)]
    given = [[np.asarray(np.abs(numbers(*s, dtype=dtype))) for s in shapes] for _ in range(count)]
    singly = [[a.copy() for a in arrays] for arrays in given]
    for _ in range(2):
        getattr(cuda, name)(*given, *options)
        for arrays in zip(*singly, strict=True):
            getattr(cuda, name)(*([a] for a in arrays), *options)
    for arrays, alone in zip(given, singly, strict=True):
        assert [a.tobytes() for a in arrays] == [a.tobytes() for a in alone]


@pytest.mark.parametrize("name", UPDATES)
def test_arrays_that_begin_anywhere(checked, numbers, dtype, unaligned, name):
    """The same bits, and nothing beside an array; one of them begins where no vector may."""
    count, options = UPDATES[name]
    arrays = [np.abs(numbers(SHARE + 5, dtype=dtype)) for _ in range(count)]
    aligned = [[a.copy()] for a in arrays]
    getattr(checked, name)(*aligned, *options)
    for k in range(count):
        given = [[unaligned(a) if i == k else a.copy()] for i, a in enumerate(arrays)]
        getattr(checked, name)(*given, *options)
        for (one,), (other,) in zip(given, aligned, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", UPDATES)
def test_every_access_is_allowed(checked, twin, numbers, dtype, name):
    count, options = UPDATES[name]
    shapes = [(3, 301), (0,), (SHARE + 5,), (7,)]
    given = [[np.abs(numbers(*shape, dtype=dtype)) for shape in shapes] for _ in range(count)]
    expected = [[a.copy() for a in arrays] for arrays in given]
    getattr(checked, name)(*given, *options)
    getattr(twin, name)(*expected, *options)
    for actual, wanted in zip(given[0], expected[0], strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_all_finite(cuda, checked, numbers, dtype, bad):
    arrays = [
        numbers(*shape, dtype=dtype) for shape in ((0,), (3,), (2 * SHARE + 7,), (2, 3, 4, 5))
    ]
    arrays[1][0], arrays[2][5] = np.finfo(dtype).max, np.finfo(dtype).tiny / 2
    for used in (cuda, checked):
        assert used.all_finite(arrays)
        for array, place in ((1, 2), (2, SHARE), (2, -1), (3, 0)):
            flat = arrays[array].reshape(-1)
            spoiled = flat.copy()
            spoiled[place] = bad
            assert not used.all_finite([*arrays[:array], spoiled, *arrays[array + 1 :]])
    assert not cuda.all_finite([np.full(2, bad, "float32"), np.ones(3, "float64")])


@pytest.mark.parametrize("options", [{"mode": "check"}, {"guard": True}])
def test_an_array_of_a_table_that_is_too_short_is_named(options):
    arrays = [[np.ones(9, "float32"), np.ones(5, "float32")] for _ in range(3)]
    arrays[1][1] = np.ones(4, "float32")
    with pytest.raises(KernelError, match=r"reads grads\[1\]\[4\], but it has 4 elements"):
        CudaBackend(Emulator(**options)).sgd_update(*arrays, 0.9, 1.0, 0.1, 0.0, False)
