"""Kernels run in the emulator: threads in their order, and in two others drawn at random."""

import numpy as np
import pytest

from tinyfcn.backend.cuda import CudaBackend
from tinyfcn.backend.cuda.emulator import Emulator


@pytest.fixture(scope="session", params=[None, 0, 1], ids=["in order", "seed 0", "seed 1"])
def cuda(request):
    """The CUDA backend; its engine is the emulator.

    In an order drawn at random there is also forbidden memory around every array. Not so in order:
    it takes copies, which lie otherwise.
    """
    return CudaBackend(Emulator(seed=request.param, guard=request.param is not None))


@pytest.fixture
def checked():
    """The same with every access to memory watched: bounds, races, alignment, costs."""
    return CudaBackend(Emulator(mode="check", seed=0, profile=True))


@pytest.fixture(scope="session")
def within_rounding():
    """Compares sums with exact ones: within eps · √terms of the sum of the absolute terms."""

    def check(got, exact, absolute, terms):
        bound = 2 * np.finfo(got.dtype).eps * np.sqrt(terms + 1) * absolute
        assert got.shape == exact.shape
        assert (np.abs(got - exact) <= bound).all(), np.abs(got - exact).max()

    return check


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
