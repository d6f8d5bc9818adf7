"""Kernels with a mistake each: the emulator must say what, where and who."""

import numpy as np
import pytest

from tinyfcn.backend.cuda.emulator import Emulator, KernelError

# Each mistake stands on the line that ends in its mark.
MISTAKES = """
__global__ void overrun(const float* x, float* y, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i <= count) y[i] = x[0];  // overrun
}

__global__ void underrun(const float* x, float* y) {
    y[threadIdx.x] = x[(int)threadIdx.x - 1];  // underrun
}

__global__ void missing_barrier(const float* x, float* y) {
    __shared__ float tile[64];
    tile[threadIdx.x] = x[threadIdx.x];  // missing_barrier, written
    y[threadIdx.x] = tile[63 - threadIdx.x];  // missing_barrier
}

__global__ void second_barrier_missing(const float* x, float* y) {
    __shared__ float tile[64];
    for (int k = 0; k < 2; ++k) {
        tile[threadIdx.x] = x[64 * k + threadIdx.x];  // second_barrier_missing
        __syncthreads();
        y[64 * k + threadIdx.x] = tile[63 - threadIdx.x];
    }
}

__global__ void blocks_meet(float* y) {
    y[threadIdx.x] = blockIdx.x;  // blocks_meet
}

__global__ void plain_sum(int* total) {
    *total += 1;  // plain_sum
}

__global__ void uninitialised(float* y) {
    __shared__ float tile[32];
    if (threadIdx.x != 5) tile[threadIdx.x] = 1;
    __syncthreads();
    y[threadIdx.x] = tile[threadIdx.x];  // uninitialised
}

__global__ void misaligned(const float* x, float* y) {
    const float4 v = *(const float4*)(x + threadIdx.x);  // misaligned
    *(float4*)(y + 4 * threadIdx.x) = v;
}

__global__ void beyond_tile(const float* x, float* y, int n) {
    __shared__ float tile[4][8];
    tile[threadIdx.x / 8][threadIdx.x % 8] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = tile[1][n];  // beyond_tile
}

__global__ void beyond_dynamic(float* y) {
    extern __shared__ float tile[];
    tile[threadIdx.x] = 1;  // beyond_dynamic
    y[threadIdx.x] = tile[threadIdx.x];
}

__global__ void divergent(float* y) {
    if (threadIdx.x < 7)
        __syncthreads();  // divergent, first
    else
        __syncthreads();  // divergent
    y[threadIdx.x] = 0;
}

__global__ void skipped(float* y) {
    if (threadIdx.x == 9) return;
    __syncthreads();  // skipped
    y[threadIdx.x] = 0;
}

__global__ void lonely_lane(float* y) {
    float v = 1;
    if (threadIdx.x < 16)
        v = __shfl_down_sync(0xffffffff, v, 1);  // lonely_lane
    else
        __syncthreads();
    y[threadIdx.x] = v;
}

__global__ void wrong_mask(float* y) {
    y[threadIdx.x] = __shfl_sync(0x0000ffff, 1.0f, 0);  // wrong_mask
}

__global__ void shuffle_from_nobody(float* y) {
    if (threadIdx.x < 16)
        y[threadIdx.x] = __shfl_sync(0x0000ffff, 1.0f, 20);  // shuffle_from_nobody
}

__global__ void zero_division(int* y, int by) {
    y[threadIdx.x] = 7 / ((int)threadIdx.x - by);  // zero_division
}

__global__ void null_pointer(const float* x, float* y) {
    y[threadIdx.x] = x[threadIdx.x];  // null_pointer
}

__device__ int deep(int n) {
    volatile char large[4096];
    large[n % 4096] = 1;
    return n == 0 ? 0 : deep(n - 1) + large[n % 4096];
}
__global__ void deep_stack(int* y, int n) {
    y[threadIdx.x] = deep(n);
}

__global__ void far_below(float* y) {
    if (threadIdx.x == 3 && blockIdx.x == 1) y[-2] = 1;  // far_below
}

__global__ void in_order_by_warp(const float* x, float* y) {
    __shared__ float tile[64];
    tile[threadIdx.x] = x[threadIdx.x];
    __syncwarp();
    y[threadIdx.x] = tile[threadIdx.x ^ 1];
}

__global__ void own_shared_memory(float* y) {
    __shared__ float tile[32];
    tile[threadIdx.x] = blockIdx.x;
    __syncthreads();
    if (threadIdx.x == 0) y[blockIdx.x] = tile[31];
}

__global__ void atomics(int* total) {
    atomicAdd(total, 1);
}
"""


def line_of(mark):
    """The line that ends in a mark."""
    lines = MISTAKES.splitlines()
    return next(i for i, line in enumerate(lines, 1) if line.endswith(f"// {mark}"))


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    """Makes an emulator of the kernels above."""
    folder = tmp_path_factory.mktemp("mistakes")
    (folder / "mistakes.cu").write_text(MISTAKES)

    def make(mode, **options):
        return Emulator(mode, folder=folder, **options)

    return make


def fault(engine, name, grid, block, *arguments, shared_mem=0):
    """The exception of a launch."""
    with pytest.raises(KernelError) as caught:
        engine.run("mistakes.cu", name, (grid, 1, 1), (block, 1, 1), arguments, shared_mem)
    return caught.value


X = np.ones(256, np.float32)


def y(count=64, dtype=np.float32):
    return np.zeros(count, dtype)


@pytest.mark.parametrize("mode", ["fast", "check"])
def test_an_overrun_names_array_element_line_block_and_thread(emulator, mode):
    error = fault(emulator(mode, guard=True), "overrun", 3, 32, X, y(68), np.int32(68))
    assert (error.kind, error.kernel, error.parameter) == ("outside", "overrun", "y")
    assert (error.file, error.line) == ("mistakes.cu", line_of("overrun"))
    assert (error.block, error.thread) == ((2, 0, 0), (4, 0, 0))
    assert f"overrun (mistakes.cu:{error.line}), block (2, 0, 0), thread (4, 0, 0)" in str(error)
    assert "writes y[68], but it has 68 elements (68,)" in str(error)


def test_a_small_overrun_of_any_length_is_found_by_the_guard(emulator):
    for count in range(60, 69):
        error = fault(emulator("fast", guard=True), "overrun", 3, 32, X, y(count), np.int32(count))
        assert error.parameter == "y" and error.kind in ("outside", "changed")
        assert f"y[{count}], but it has {count} elements" in str(error)


def test_a_write_before_an_array(emulator):
    error = fault(emulator("fast", guard=True), "far_below", 2, 32, y())
    assert (error.kind, error.block, error.thread) == ("changed", (1, 0, 0), None)
    assert "a thread wrote y[-2]" in str(error)
    error = fault(emulator("check"), "far_below", 2, 32, y())
    assert (error.kind, error.line) == ("outside", line_of("far_below"))
    assert (error.block, error.thread) == ((1, 0, 0), (3, 0, 0))


def test_a_read_before_an_array(emulator):
    error = fault(emulator("check"), "underrun", 1, 32, X, y())
    assert (error.kind, error.line) == ("outside", line_of("underrun"))
    assert "reads x[-1]" in str(error)
    out = y()  # the guard gives a NaN there
    emulator("fast", guard=True).run("mistakes.cu", "underrun", (1, 1, 1), (32, 1, 1), (X, out))
    assert np.isnan(out[0]) and (out[1:32] == 1).all()


def test_arrays_come_back_from_behind_their_guards_also_if_one_is_there_twice(emulator):
    x = np.arange(64, dtype=np.float32)
    emulator("fast", guard=True).run("mistakes.cu", "null_pointer", (1, 1, 1), (64, 1, 1), (x, x))
    np.testing.assert_array_equal(x, np.arange(64))


def test_a_missing_barrier_is_a_race(emulator):
    error = fault(emulator("check"), "missing_barrier", 1, 64, X, y())
    # In order, a thread reads first what a later one has yet to write.
    assert (error.kind, error.line) == ("uninitialised", line_of("missing_barrier"))
    error = fault(emulator("check"), "second_barrier_missing", 1, 64, X, y(128))
    written = line_of("second_barrier_missing")
    assert (error.kind, error.line, error.other_line) == ("race", written + 2, written)
    assert f"reads shared memory, which thread (31, 0, 0) writes at line {written}" in str(error)
    assert error.thread == (32, 0, 0)


def test_a_missing_second_barrier_is_right_in_order_and_wrong_in_another(emulator):
    x = np.arange(128, dtype=np.float32)
    right = np.concatenate([x[63::-1], x[:63:-1]])

    def result(seed):
        out = y(128)
        engine = emulator("fast", seed=seed)
        engine.run("mistakes.cu", "second_barrier_missing", (1, 1, 1), (64, 1, 1), (x, out))
        return out

    assert not all((result(seed) == right).all() for seed in (0, 1))


def test_races_between_blocks(emulator):
    error = fault(emulator("check"), "blocks_meet", 2, 32, y())
    assert (error.kind, error.parameter) == ("race", "y")
    assert error.line == error.other_line == line_of("blocks_meet")
    assert (error.block, error.thread) == ((1, 0, 0), (0, 0, 0))
    assert "writes y[0], which thread (0, 0, 0) of block (0, 0, 0) writes" in str(error)
    error = fault(emulator("check"), "plain_sum", 1, 2, y(1, np.int32))
    assert (error.kind, error.line, error.thread) == ("race", line_of("plain_sum"), (1, 0, 0))


def test_what_atomics_and_warps_order_is_no_race(emulator):
    engine = emulator("check")
    total = y(1, np.int32)
    engine.run("mistakes.cu", "atomics", (3, 1, 1), (40, 1, 1), (total,))
    assert total[0] == 120
    out = y()
    engine.run("mistakes.cu", "in_order_by_warp", (1, 1, 1), (64, 1, 1), (X, out))
    assert (out == 1).all()
    outs = y(3)
    engine.run("mistakes.cu", "own_shared_memory", (3, 1, 1), (32, 1, 1), (outs,))
    assert outs.tolist() == [0, 1, 2]


def test_shared_memory_that_nobody_wrote(emulator):
    error = fault(emulator("check"), "uninitialised", 1, 32, y())
    assert (error.kind, error.line) == ("uninitialised", line_of("uninitialised"))
    assert error.thread == (5, 0, 0)
    out = y()
    emulator("fast").run("mistakes.cu", "uninitialised", (1, 1, 1), (32, 1, 1), (out,))
    assert np.flatnonzero(np.isnan(out)).tolist() == [5]


def test_a_misaligned_vector(emulator):
    error = fault(emulator("check"), "misaligned", 1, 32, X, y())
    assert (error.kind, error.line) == ("misaligned", line_of("misaligned"))
    assert error.thread == (1, 0, 0)


def test_an_index_beyond_a_shared_array(emulator):
    error = fault(emulator("check"), "beyond_tile", 1, 32, X, y(), np.int32(8))
    assert (error.kind, error.line) == ("index", line_of("beyond_tile"))
    assert "index 8 is beyond" in str(error)
    error = fault(emulator("check"), "beyond_dynamic", 1, 32, y(), shared_mem=64)
    assert (error.kind, error.line) == ("dynamic", line_of("beyond_dynamic"))
    assert error.thread == (16, 0, 0) and "writes byte 64" in str(error)


@pytest.mark.parametrize("mode", ["fast", "check", "debug"])
@pytest.mark.parametrize("seed", [None, 3])
def test_barriers_that_not_all_threads_reach(emulator, mode, seed):
    engine = emulator(mode, seed=seed)
    error = fault(engine, "divergent", 1, 32, y())
    assert error.kind == "barrier diverged"
    assert {error.line, error.other_line} == {line_of("divergent"), line_of("divergent, first")}
    error = fault(engine, "skipped", 1, 32, y())
    assert (error.kind, error.line) == ("barrier skipped", line_of("skipped"))
    assert "waits at a barrier while thread (9, 0, 0) has ended" in str(error)
    error = fault(engine, "lonely_lane", 1, 32, y())
    assert (error.kind, error.line) == ("warp diverged", line_of("lonely_lane"))
    assert f"waits at line {error.line + 2}" in str(error)
    error = fault(engine, "wrong_mask", 1, 32, y())
    assert (error.kind, error.line) == ("not in mask", line_of("wrong_mask"))
    error = fault(engine, "shuffle_from_nobody", 1, 32, y())
    assert (error.kind, error.line) == ("lane away", line_of("shuffle_from_nobody"))


@pytest.mark.parametrize("mode", ["fast", "check", "debug"])
def test_what_the_processor_rejects(emulator, mode):
    engine = emulator(mode)
    error = fault(engine, "zero_division", 2, 32, y(dtype=np.int32), np.int32(6))
    assert (error.kind, error.line) == ("division", line_of("zero_division"))
    assert error.thread == (6, 0, 0)
    error = fault(engine, "null_pointer", 1, 32, None, y())
    assert (error.kind, error.line) == ("outside", line_of("null_pointer"))
    assert "reads address 0x0, through a null pointer" in str(error)
    error = fault(engine, "deep_stack", 1, 32, y(dtype=np.int32), np.int32(100))
    assert error.kind == "stack"


def test_the_emulator_works_on_after_a_fault(emulator):
    engine = emulator("fast", guard=True)
    for _ in range(3):
        fault(engine, "divergent", 1, 32, y())
        fault(engine, "null_pointer", 1, 32, None, y())
        out = y()
        engine.run("mistakes.cu", "in_order_by_warp", (1, 1, 1), (64, 1, 1), (X, out))
        assert (out == 1).all()
