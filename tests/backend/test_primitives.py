"""Each primitive of each fast backend against the plain body in float64: one test for all."""

import numpy as np
import pytest
from arguments import ARGUMENTS, IMAGES, ORDERS, REFERENCE, Draw, arrays_of, primitive
from hypothesis import given
from hypothesis import strategies as st

from tinyfcn import backend
from tinyfcn.backend.base import Backend
from tinyfcn.backend.cpu import (
    NumpyBackend,
    dropout,
    elementwise,
    loss,
    normalization,
    optimizer,
    pooling,
    resample,
    threads,
)
from tinyfcn.backend.cuda import CudaBackend
from tinyfcn.backend.meta import MetaBackend

CPU = NumpyBackend()
NO_VALUES = {
    "all_finite",
    "as_array",
    "conv2d_grads",  # None from the plain body; tests/kernels/test_conv2d.py has it
    "empty",
    "later",
    "synchronize",
    "to_numpy",
    "upload",
    "zeros",
}


def run(used, name, shape, dtype, order):
    """The arrays of the result, and those of the arguments, which only in-place ones may change."""
    arguments = ARGUMENTS[name](Draw(shape, dtype, order))
    return arrays_of(primitive(used, name)(*arguments)), arrays_of(arguments)


def check(used, name, shape, dtype, order):
    """The results are those of the reference in float64, as far as rounding allows."""
    exact = run(REFERENCE, name, shape, "float64", "C")
    results, arguments = run(used, name, shape, dtype, order)
    assert all(got.dtype in (dtype, "int32") for got in results)
    for got, wanted in zip([*results, *arguments], [*exact[0], *exact[1]], strict=True):
        assert got.shape == wanted.shape
        scale = np.abs(wanted).max(initial=1)  # the arguments are of the size of 1
        error = np.abs(got - wanted).max(initial=0)
        assert error <= 64 * np.finfo(dtype).eps * scale, (shape, order)


@pytest.mark.parametrize("which", ["numpy", "emulator"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_primitive(name, dtype, which):
    with backend.using(which) as used:
        for shape in IMAGES:
            for order in ORDERS:
                check(used, name, shape, dtype, order)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ARGUMENTS)
@given(
    shape=st.tuples(*(st.integers(1, most) for most in (3, 5, 9, 9))),
    order=st.sampled_from(ORDERS),
    block=st.sampled_from([1, 64, threads.BLOCK]),
)
def test_any_shape_on_the_cpu(name, dtype, shape, order, block):
    """Also where its blocks are so small that there are several."""
    n, c, h, w = shape
    with pytest.MonkeyPatch.context() as patch:
        for module in (dropout, elementwise, loss, optimizer, pooling, resample):
            patch.setattr(module, "BLOCK", block)
        patch.setattr(normalization, "LONG", block)
        check(CPU, name, (n, 2 * c, h, w), dtype, order)


def without_values(value):
    """Arguments with arrays of the backend "meta"."""
    if isinstance(value, list | tuple):
        return type(value)(map(without_values, value))
    return MetaBackend().as_array(value) if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize("name", ARGUMENTS)
def test_meta_gives_the_shapes_and_dtypes(name):
    for shape in IMAGES:
        arguments = ARGUMENTS[name](Draw(shape, "float32", "C"))
        exact = arrays_of(primitive(REFERENCE, name)(*arguments))
        results = arrays_of(primitive(MetaBackend(), name)(*without_values(arguments)))
        assert [(y.shape, y.dtype) for y in results] == [(y.shape, y.dtype) for y in exact]


def test_every_primitive_that_a_backend_overrides_is_here():
    public = {n for n in dir(Backend) if callable(getattr(Backend, n)) and n[0] != "_"}
    fast = {
        n for n in public - NO_VALUES for used in (NumpyBackend, CudaBackend)
        if getattr(used, n) is not getattr(Backend, n)
    }  # fmt: skip
    missing = sorted(fast - ARGUMENTS.keys())
    assert not missing, f"tests/backend/arguments.py: add {', '.join(missing)} to ARGUMENTS"
