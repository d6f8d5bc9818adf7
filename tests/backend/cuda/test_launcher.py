"""What a launch checks before a kernel runs: the same on every engine."""

import re

import numpy as np
import pytest

from tinyfcn.backend.cuda.emulator import Emulator, KernelError
from tinyfcn.backend.cuda.launcher import Launcher

SOURCE = """
typedef unsigned char u8;
template <typename T> __global__ void scale(const T* x, T* y, T by, u32 n) {
    if (threadIdx.x < n) y[threadIdx.x] = x[threadIdx.x] * by;
}
__global__ void bytes(u8* x) {}
__global__ void number(int* x, int is) { if (x) x[0] = is; }
__global__ void turn(const float* x, float* y) {
    extern __shared__ float tile[];
    tile[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x];
}
template <typename Stored>
__global__ void scale_wide(const Stored* x, wide<Stored>* y, wide<Stored> by) { y[0] = x[0] * by; }
"""
X = np.arange(6, dtype="float32")


@pytest.fixture
def launch(tmp_path):
    (tmp_path / "scale.cu").write_text('#include "common.cuh"\n' + SOURCE)
    (tmp_path / "common.cuh").write_text((Emulator().folder / "common.cuh").read_text())
    return Launcher(Emulator(folder=tmp_path))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_what_is_computed_with_float16_is_float32(launch, dtype):
    kind = {"float16": "float32"}.get(dtype, dtype)
    y = np.zeros(1, kind)
    launch("scale_wide", 1, 1, X[3:].astype(dtype), y, 0.1)
    assert y[0] == 3 * np.dtype(kind).type(0.1)
    with pytest.raises(TypeError, match=rf"scale_wide: wide<T>\* y: expected {kind}, got int32"):
        launch("scale_wide", 1, 1, X.astype(dtype), y.astype("int32"), 0.1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_and_arrays_get_the_declared_types(launch, dtype):
    y = np.zeros(6, dtype)
    launch("scale", 1, 32, X.astype(dtype), y, 2, np.int64(6))
    np.testing.assert_array_equal(y, 2 * X)
    count = np.zeros(1, "int32")
    launch("number", np.int64(1), (32, 1), count, True)
    assert count[0] == 1
    launch("number", 1, 32, None, 3)  # a null pointer


def test_an_empty_grid_does_not_come_to_the_engine(launch, monkeypatch):
    """For CuPy it is an error, or a grid of 1."""
    monkeypatch.setattr(launch.engine, "run", lambda *a: pytest.fail(f"ran {a}"))
    launch("scale", 0, 32, X, X, 3, 6)
    launch("scale", (3, 1, 0), 32, X, X, 3, 6)


def test_a_launch_asks_for_shared_memory(launch):
    y = np.zeros(6, "float32")
    launch("turn", 1, 6, X, y, shared_mem=24)
    np.testing.assert_array_equal(y, X[::-1])
    watched = Launcher(Emulator("check", folder=launch.engine.folder))
    watched("turn", 1, 6, X, y, shared_mem=24)
    with pytest.raises(KernelError, match="byte 20 of dynamic shared memory, beyond"):
        watched("turn", 1, 6, X, y, shared_mem=20)


def test_how_a_kernel_is_launched_is_worked_out_once(launch, monkeypatch):
    launch("scale", 1, 32, X, X.copy(), 1, 6)
    monkeypatch.setattr(launch, "_plan", None)
    launch("scale", 1, 32, X, X.copy(), 1, 6)


def test_arrays_that_lie_otherwise_are_copied_and_what_is_written_goes_back(launch):
    matrix, y = X.reshape(2, 3).T, np.zeros((2, 3), "float32").T
    launch("scale", 1, 32, matrix, y, 10, 6)
    np.testing.assert_array_equal(y, 10 * matrix)
    plain = np.zeros((3, 2), "float32")
    launch("scale", 1, 32, matrix, plain, 10, 6)
    np.testing.assert_array_equal(plain, 10 * matrix)
    scalar = np.zeros(1, "float32")
    launch("scale", 1, 32, np.float32(3), scalar, 10, 1)  # as an array without axes
    assert scalar[0] == 30


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X, X, 2.0), r"scale: expected 4 arguments, scale\(const T\* x, .*, got 3"),
        ((X, [1.0], 2.0, 6), r"scale: T\* y: expected an array, got list"),
        ((X, X.astype("f8"), 2.0, 6), r"scale: T\* y: expected float32, got float64"),
        ((X, 2.0, 2.0, 6), r"scale: T\* y: expected an array, got float"),
        ((X, X, X, 6), "scale: T by: expected a number, got ndarray"),
        ((X, X, 2.0, 6.5), "scale: u32 n: expected uint32, got 6.5"),
        ((X, X, 2.0, float("nan")), "scale: u32 n: expected uint32, got nan"),
        ((X, X, 2.0, -1), "scale: u32 n: expected uint32, got -1"),
        ((X, X, 2.0, np.int64(2**32)), "scale: u32 n: expected uint32, got np.int64.4294967296"),
    ],
)
def test_what_does_not_fit_the_declaration_is_rejected(launch, arguments, message):
    with pytest.raises(TypeError, match=message):
        launch("scale", 1, 32, *arguments)


def test_what_no_kernel_takes_is_rejected(launch):
    with pytest.raises(ValueError, match="has a kernel scael; there are scale, bytes"):
        launch("scael", 1, 32, X)
    with pytest.raises(TypeError, match="scale: expected arrays of float32 or float64, got f"):
        launch("scale", 1, 32, X.astype("f2"), X, 2.0, 6)
    with pytest.raises(TypeError, match="arrays of float16 or float32 or float64, got int32"):
        launch("scale_wide", 1, 32, X.astype("i4"), X, 2.0)
    for grid, block in [
        ((1, 2**16, 1), (32, 1, 1)), ((1, 1, 2**16), (32, 1, 1)), ((2**31, 1, 1), (32, 1, 1)),
        ((1, 1, 1), (1025, 1, 1)), ((1, 1, 1), (32, 33, 1)),
    ]:  # fmt: skip
        with pytest.raises(
            ValueError, match=re.escape(f"no GPU has a grid of {grid} blocks of {block}")
        ):
            launch("scale", grid, block, X, X, 2.0, 6)
    with pytest.raises(TypeError, match=r"bytes: u8\* x: a launch knows the types T, wide<T>, st"):
        launch("bytes", 1, 32, X)
