"""What the kernel tests share: the backend in three orders of threads, inputs, and a tolerance."""

from __future__ import annotations

import numpy as np
import pytest

from tinyfcn.backend import half
from tinyfcn.backend.cuda import CudaBackend, launcher
from tinyfcn.backend.cuda.emulator import Emulator


@pytest.fixture(scope="session", params=[None, 1, 2], ids=["in order", "seed 1", "seed 2"])
def cuda(request):
    """The CUDA backend on the emulator, threads in order or mixed.

    New arrays are full of NaN. In a mixed order, what is beside an array in memory is forbidden
    too; not so in order, since that takes copies, which lie otherwise than unaligned arrays do.
    """
    return CudaBackend(Emulator(seed=request.param, guard=request.param is not None))


@pytest.fixture
def checked():
    """The same with every access to memory watched: bounds, races, alignment, costs."""
    return CudaBackend(Emulator(mode="check", seed=0, profile=True))


@pytest.fixture(scope="session")
def twin():
    """The plain bodies, the specification; of float16 in float32."""
    return half.Half()


@pytest.fixture(autouse=True)
def _grids_of_two_blocks(monkeypatch):
    """Small arrays then take several rounds of FOR_EACH."""
    monkeypatch.setattr(launcher, "LARGEST_GRID", 2)


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture(params=["float16", "float32", "float64"])
def stored(request):
    """The dtype of activations."""
    return request.param


@pytest.fixture
def numbers(rng):
    """numbers(*shape, dtype=…): normal ones; 4-D arrays lie in memory channels last."""

    def make(*shape, dtype="float32"):
        if len(shape) != 4:
            return rng.standard_normal(shape).astype(dtype)
        n, c, h, w = shape
        return rng.standard_normal((n, h, w, c)).astype(dtype).transpose(0, 3, 1, 2)

    return make


@pytest.fixture
def close():
    """close(actual, expected, terms, scale): holds a float result to one computed in float64.

    A sum of ``terms`` numbers whose absolute values add up to ``scale`` (by default the result) is
    off by about eps · √terms · scale; 4 more for the operations around it. A result in float16 is
    one in float32 that was rounded, by at most half of its last digit.
    """

    def check(actual, expected, terms=1, scale=None):
        assert actual.shape == np.shape(expected)
        assert actual.flags.c_contiguous
        size, computed = np.abs(expected), np.finfo(half.wide(actual.dtype))
        scale = size if scale is None else scale
        tolerance = computed.eps * (4 + np.sqrt(terms)) * scale + computed.tiny
        if actual.dtype == half.HALF:
            tolerance += np.maximum((size + tolerance) * 2.0**-11, 2.0**-25)
        error = np.abs(actual.astype("float64") - expected)
        assert (error <= tolerance).all(), f"{(error / tolerance).max()} times the tolerance"

    return check


@pytest.fixture
def same():
    """same(actual, expected): the same bits but for the sign of 0, in the same dtype and shape."""

    def check(actual, expected):
        assert actual.dtype == expected.dtype
        assert actual.flags.c_contiguous
        np.testing.assert_array_equal(actual, expected)

    return check


@pytest.fixture(scope="session")
def within_rounding():
    """Compares sums with exact ones: within eps · √terms of the sum of the absolute terms."""

    def check(got, exact, absolute, terms):
        bound = 2 * np.finfo(got.dtype).eps * np.sqrt(terms + 1) * absolute
        assert got.shape == exact.shape
        assert (np.abs(got - exact) <= bound).all(), np.abs(got - exact).max()

    return check


@pytest.fixture
def anywhere(unaligned, monkeypatch):
    """anywhere(backend): from now on its new arrays begin where no 128-bit store may."""

    def change(backend):
        def empty(shape, dtype):
            return unaligned(np.full(shape, -1 if np.dtype(dtype).kind == "i" else np.nan, dtype))

        monkeypatch.setattr(backend, "empty", empty)

    return change


@pytest.fixture(scope="session")
def unaligned():
    """Copies an array to where no 128-bit load may begin."""

    def copy(array):
        buffer = np.empty(array.size + 4, array.dtype)
        first = next(i for i in range(4) if buffer[i:].ctypes.data % 16)
        view = buffer[first : first + array.size].reshape(array.shape)
        view[...] = array
        return view

    return copy
