"""Asynchronous copies: what they bring is there once it was waited for, and not before."""

import numpy as np
import pytest

from tinyfcn.backend.cuda.emulator import Emulator, KernelError

# Turns two halves of x round, and then the first one again, in another panel's place.
SOURCE = """
__global__ void turned(const float* x, float* y) {
    __align__(16) __shared__ float tile[2][64];
    const int i = threadIdx.x;
    copy_async<4>(&tile[0][i], x + i, true);
    end_copies();
    copy_async<4>(&tile[1][i], x + 64 + i, i < 60);
    end_copies();
    wait_for_copies<1>();
    __syncthreads();  // first
    y[i] = tile[0][63 - i];
    wait_for_copies<0>();
    __syncthreads();  // second
    y[64 + i] = tile[1][63 - i];
    __syncthreads();  // third
    if (i < 16) copy_async<16>(&tile[1][4 * i], x + 4 * i, true);
    wait_for_copies<0>();
    end_copies();
    wait_for_copies<0>();
    __syncthreads();
    y[128 + i] = tile[1][63 - i];
}
"""
X = np.arange(128, dtype=np.float32)


@pytest.fixture
def run(tmp_path):
    """run(mode, old, new, …): what the kernel makes of X once some words of it are replaced."""

    def run(mode, *changes, seed=None):
        source = SOURCE
        for old, new in zip(changes[::2], changes[1::2], strict=True):
            assert source.count(old) == 1
            source = source.replace(old, new)
        (tmp_path / "turned.cu").write_text(source)
        y = np.zeros(192, np.float32)
        engine = Emulator(mode, folder=tmp_path, seed=seed, profile=mode == "check")
        engine.run("turned.cu", "turned", (1, 1, 1), (64, 1, 1), (X, y))
        return y, engine

    return run


def line_of(text):
    return next(i for i, line in enumerate(SOURCE.splitlines(), 1) if text in line)


@pytest.mark.parametrize("seed", [None, 1])
@pytest.mark.parametrize("mode", ["fast", "debug"])
def test_copies_bring_what_they_are_to_bring_and_zeros(run, mode, seed):
    y, _ = run(mode, seed=seed)
    np.testing.assert_array_equal(y[:64], X[63::-1])
    np.testing.assert_array_equal(y[64:128], np.where(np.arange(64) < 4, 0, X[:63:-1]))
    np.testing.assert_array_equal(y[128:], X[63::-1])


@pytest.mark.parametrize(
    "what, read",
    [
        ("wait_for_copies<1>();", "y[i] ="),  # the wait is missing
        ("wait_for_copies<0>();\n    __syncthreads();  // second", "y[64 + i] ="),
        ("    end_copies();\n    wait_for_copies<0>();\n    __syncthreads();\n", "y[128 + i] ="),
    ],
)
def test_a_missing_wait_shows_poison_and_is_found(run, what, read):
    barrier = "__syncthreads();" if "__syncthreads" in what else ""
    y, _ = run("fast", what, barrier)
    assert np.isnan(y).any()
    with pytest.raises(KernelError, match="before the copy that fills it was waited for") as caught:
        run("check", what, barrier + "\n" * what.count("\n"))
    assert (caught.value.kind, caught.value.line) == ("awaited", line_of(read))


@pytest.mark.parametrize("number", ["first", "second"])
def test_a_copy_of_another_thread_is_there_behind_a_barrier_only(run, number):
    with pytest.raises(KernelError) as caught:
        run("check", f"__syncthreads();  // {number}", "")
    assert caught.value.kind in ("race", "awaited", "uninitialised")


def test_a_copy_to_where_others_still_read_is_a_race(run):
    with pytest.raises(KernelError) as caught:
        run("check", "__syncthreads();  // third", "")
    lines = {line_of("copy_async<16>"), line_of("y[64 + i] =")}
    assert (caught.value.kind, {caught.value.line, caught.value.other_line}) == ("race", lines)


@pytest.mark.parametrize("mode", ["fast", "check"])
def test_a_copy_begins_at_a_multiple_of_its_size(run, mode):
    with pytest.raises(KernelError) as caught:
        run(mode, "x + 4 * i", "x + 2 * i")
    assert (caught.value.kind, caught.value.thread) == ("misaligned", (1, 0, 0))
    assert caught.value.line == line_of("copy_async<16>")


def test_a_copy_beyond_an_array_is_outside(run):
    with pytest.raises(KernelError) as caught:
        run("check", "x + 64 + i, i < 60", "x + 128 + i, i < 60")
    assert (caught.value.kind, caught.value.parameter) == ("outside", "x")
    assert caught.value.line == line_of("copy_async<4>(&tile[1]")


def test_a_copy_is_a_read_and_a_write_of_the_profile(run):
    _, engine = run("check")
    found = {
        (cost.line, cost.memory, cost.access): (cost.requests, cost.accesses, cost.factor)
        for cost in engine.profile()
    }
    line = line_of("copy_async<4>(&tile[0]")
    assert found[line, "global", "reads"][:2] == found[line, "shared", "writes"][:2] == (2, 64)
    line = line_of("copy_async<4>(&tile[1]")
    assert found[line, "global", "reads"][1] == 60 and found[line, "shared", "writes"][1] == 64
    assert found[line_of("copy_async<16>"), "shared", "writes"] == (1, 16, 1)
