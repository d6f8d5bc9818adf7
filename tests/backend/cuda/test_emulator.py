"""The emulator: kernels run and give what they must."""

import ctypes
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tinyfcn.backend.cpu import NumpyBackend
from tinyfcn.backend.cuda import on_emulator
from tinyfcn.backend.cuda.emulator import BuildError, Emulator, from_environment
from tinyfcn.backend.cuda.emulator import build as build_module

SUMS = """
#include "common.cuh"
constexpr int THREADS = 64;

// Sums of rows: a tree in shared memory, and its last five steps within a warp.
template <typename T>
__global__ void __launch_bounds__(THREADS) row_sums(const T* __restrict__ x, T* __restrict__ y,
                                                    int columns) {
    __shared__ T part[THREADS];
    const int t = threadIdx.x;
    T sum = 0;
    for (int i = t; i < columns; i += THREADS) sum += x[(i64)blockIdx.x * columns + i];
    part[t] = sum;
    __syncthreads();
    if (t < 32) {
        sum = part[t] + part[t + 32];
        for (int by = 16; by > 0; by /= 2) sum += __shfl_down_sync(0xffffffff, sum, by);
        if (t == 0) y[blockIdx.x] = sum;
    }
}

// The same array turned round, through dynamic shared memory.
__global__ void reversed(const float* x, float* y) {
    extern __shared__ float tile[];
    tile[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x];
}

__global__ void votes(const int* x, u32* y) {
    y[threadIdx.x] = __ballot_sync(0xffffffff, x[threadIdx.x]);
}

__global__ void lanes(const int* x, int* y) {
    const int v = x[threadIdx.x], n = blockDim.x, t = threadIdx.x;
    y[t] = __shfl_sync(0xffffffff, v, 3, 8);
    y[n + t] = __shfl_up_sync(0xffffffff, v, 2, 8);
    y[2 * n + t] = __shfl_down_sync(0xffffffff, v, 2, 8);
    y[3 * n + t] = __shfl_xor_sync(0xffffffff, v, 5);
}

__global__ void count(int* total) { atomicAdd(total, 1); }

__global__ void who(int* y) {
    const int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    const int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    y[block * blockDim.x * blockDim.y * blockDim.z + thread] = block * 1000 + thread;
}
"""


@pytest.fixture(scope="module", params=["in order", "seed 0", "seed 1", "the system's switch"])
def run(request, tmp_path_factory):
    """Runs a kernel of SUMS."""
    folder = tmp_path_factory.mktemp("kernels")
    shared = Emulator().folder / "common.cuh"
    (folder / "common.cuh").write_text(shared.read_text())
    (folder / "sums.cu").write_text(SUMS)
    seed = int(request.param[-1]) if request.param.startswith("seed") else None
    emulator = Emulator(seed=seed, folder=folder)
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "the system's switch":  # of stacks, where there is no assembly for it
            patch.setattr(build_module, "FLAGS", [*build_module.FLAGS, "-DTINYFCN_UCONTEXT"])
        emulator.library("sums.cu")

    def run(function, grid, block, *arguments, shared_mem=0):
        emulator.run("sums.cu", function, grid, block, arguments, shared_mem)

    return run


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("columns", [1, 63, 64, 200])
def test_threads_wait_for_each_other_and_share_memory(run, rng, dtype, columns):
    x = rng.integers(-9, 9, (3, columns)).astype(dtype)
    y = np.empty(3, dtype)
    T = "float" if dtype == np.float32 else "double"
    run(f"row_sums<{T}>", (3, 1, 1), (64, 1, 1), x, y, np.int32(columns))
    np.testing.assert_array_equal(y, x.sum(1))


def test_dynamic_shared_memory(run, rng):
    x = rng.standard_normal(1024).astype(np.float32)
    y = np.empty_like(x)
    run("reversed", (1, 1, 1), (1024, 1, 1), x, y, shared_mem=x.nbytes)
    np.testing.assert_array_equal(y, x[::-1])
    with pytest.raises(ValueError, match=r"reversed: expected at most 49152 bytes.*got 49153"):
        run("reversed", (1, 1, 1), (1024, 1, 1), x, y, shared_mem=48 * 1024 + 1)


def test_votes_and_shuffles_of_a_warp(run):
    x = np.arange(64, dtype=np.int32)
    y = np.zeros(64, np.uint32)
    run("votes", (1, 1, 1), (64, 1, 1), (x % 3 == 0).astype(np.int32), y)
    assert (y[:32] == sum(1 << i for i in range(0, 32, 3))).all()
    assert (y[32:] == sum(1 << i for i in range(32) if (i + 32) % 3 == 0)).all()

    y = np.zeros((4, 64), np.int32)
    run("lanes", (1, 1, 1), (64, 1, 1), x, y)
    np.testing.assert_array_equal(y[0], x // 8 * 8 + 3)
    np.testing.assert_array_equal(y[1], np.where(x % 8 < 2, x, x - 2))
    np.testing.assert_array_equal(y[2], np.where(x % 8 > 5, x, x + 2))
    np.testing.assert_array_equal(y[3], x ^ 5)


def test_atomics_count_every_thread(run):
    total = np.zeros(1, np.int32)
    run("count", (5, 2, 1), (33, 1, 1), total)
    assert total[0] == 330


def test_every_thread_of_every_block_knows_who_it_is(run):
    y = np.full(2 * 3 * 2 * 24, -1, np.int32)
    run("who", (2, 3, 2), (4, 3, 2), y)
    block, thread = np.divmod(np.arange(y.size), 24)
    np.testing.assert_array_equal(y, block * 1000 + thread)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_relu_equals_the_twin(rng, dtype):
    twin = NumpyBackend()
    emulated = on_emulator()
    plain = rng.standard_normal((3, 5, 7, 9)).astype(dtype)
    plain[0, 0, 0, :3] = np.nan, -np.inf, 0
    for x in (plain, plain[:, ::2].transpose(0, 2, 3, 1), plain[:0]):
        y = emulated.relu(x)
        assert y.dtype == dtype
        np.testing.assert_array_equal(y, twin.relu(x))
        gy = rng.standard_normal(x.shape).astype(dtype)
        np.testing.assert_array_equal(emulated.relu_grad(gy, y), twin.relu_grad(gy, y))


def test_without_a_compiler_one_sentence_says_what_to_install(monkeypatch):
    build_module.compiler_version.cache_clear()
    monkeypatch.setattr(build_module, "COMPILER", "no-such-compiler")
    with pytest.raises(BuildError, match=r"with g\+\+, which is not installed.*apt-get"):
        Emulator().library("activation.cu")


def test_what_does_not_compile_is_reported_with_the_words_of_the_compiler(tmp_path):
    (tmp_path / "bad.cu").write_text("__global__ void bad(float* x) {\n    x[0] = nothing;\n}\n")
    emulator = Emulator(folder=tmp_path)
    with pytest.raises(BuildError, match=r"(?s)does not accept bad:.*bad\.cu:2.*'nothing'"):
        emulator.library("bad.cu")


def test_new_arrays_are_full_of_what_shows():
    assert np.isnan(Emulator().empty((2, 3), np.float32)).all()
    assert (Emulator().empty((2, 0, 3), np.float64)).shape == (2, 0, 3)
    assert (Emulator().empty((2,), np.int64) == -1).all()


def test_the_environment_chooses_mode_guard_and_order(monkeypatch):
    monkeypatch.delenv("TINYFCN_EMULATOR", raising=False)
    assert from_environment().mode == "fast"
    monkeypatch.setenv("TINYFCN_EMULATOR", "fast,guard,seed=3")
    emulator = from_environment()
    assert (emulator.mode, emulator.guard, emulator.seed) == ("fast", True, 3)
    monkeypatch.setenv("TINYFCN_EMULATOR", "check")
    assert from_environment().mode == "check"
    monkeypatch.setenv("TINYFCN_EMULATOR", "fast,seed=x")
    with pytest.raises(ValueError, match=r"expected fast, check, debug, guard.*got 'seed=x'"):
        from_environment()


def test_the_cache_folder_is_named_or_the_users_or_a_temporary_one(monkeypatch, tmp_path):
    monkeypatch.setenv("TINYFCN_CACHE", str(tmp_path / "named"))
    assert build_module.cache_folder() == tmp_path / "named"
    monkeypatch.delenv("TINYFCN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "users"))
    assert build_module.cache_folder() == tmp_path / "users" / "tinyfcn"
    (tmp_path / "file").write_text("")  # nothing can be made in it
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(build_module.tempfile, "gettempdir", lambda: str(tmp_path))
    assert build_module.cache_folder().parent == tmp_path


def test_a_changed_header_is_compiled_anew(tmp_path):
    (tmp_path / "value.cuh").write_text("#define VALUE 1\n")
    (tmp_path / "header.cu").write_text(
        '#include "value.cuh"\n__global__ void put(int* y) { y[0] = VALUE; }\n'
    )
    y = np.zeros(1, np.int32)
    for value in (1, 2):
        (tmp_path / "value.cuh").write_text(f"#define VALUE {value}\n")
        emulator = Emulator(folder=tmp_path)
        emulator.run("header.cu", "put", (1, 1, 1), (1, 1, 1), (y,))
        assert y[0] == value


def test_printf_prints_from_one_thread(tmp_path, capfd):
    (tmp_path / "say.cu").write_text(
        "__global__ void say(int of) {\n"
        '    if (threadIdx.x == 3) printf("thread %d of %d\\n", threadIdx.x, of);\n}\n'
    )
    emulator = Emulator("debug", folder=tmp_path)
    emulator.run("say.cu", "say", (1, 1, 1), (8, 1, 1), (np.int32(8),))
    ctypes.CDLL(None).fflush(None)
    assert capfd.readouterr().out == "thread 3 of 8\n"


def test_threads_of_python_may_share_an_emulator(rng):
    emulated = on_emulator()
    x = rng.standard_normal(100_000).astype(np.float32)
    with ThreadPoolExecutor(4) as pool:
        for y in pool.map(emulated.relu, [x] * 20):
            np.testing.assert_array_equal(y, np.maximum(x, 0))
