"""What the emulator counts: sectors of global memory, turns of shared memory."""

import numpy as np
import pytest

from tinyfcn.backend.cuda.emulator import Emulator

SOURCE = """
__global__ void transposed(const float* x, float* y, float* z) {
    __shared__ float tile[32][32];
    const int row = threadIdx.y, column = threadIdx.x;
    tile[row][column] = x[row * 32 + column];  // a row: 4 sectors; no conflict
    __syncthreads();
    y[row * 32 + column] = tile[column][row];  // a column: all 32 in one bank
    z[column * 32 + row] = 1;                  // a column: 32 sectors
}

__global__ void vectors(const float4* x, float4* y) {
    __shared__ float4 tile[32];
    tile[threadIdx.x] = x[threadIdx.x];
    y[threadIdx.x] = tile[threadIdx.x];
}
"""


@pytest.fixture
def engine(tmp_path):
    (tmp_path / "costs.cu").write_text(SOURCE)
    return Emulator("check", profile=True, folder=tmp_path)


def aligned(count):
    """Zeros at a multiple of 32 bytes, as on a GPU."""
    room = np.zeros(count + 8, np.float32)
    return room[-(room.ctypes.data // 4) % 8 :][:count]


def test_costs_of_each_line(engine):
    x, y, z = (aligned(1024) for _ in range(3))
    for launches in (1, 2):
        engine.run("costs.cu", "transposed", (1, 1, 1), (32, 32, 1), (x, y, z))
        found = {(c.line, c.memory, c.access): c for c in engine.profile()}
        each = {key: c.cost / c.requests for key, c in found.items()}
        assert each == {
            (5, "global", "reads"): 4, (5, "shared", "writes"): 1,
            (7, "shared", "reads"): 32, (7, "global", "writes"): 4,
            (8, "global", "writes"): 32,
        }  # fmt: skip
        assert {(c.kernel, c.file) for c in found.values()} == {("transposed", "costs.cu")}
        assert {(c.requests, c.accesses) for c in found.values()} == {
            (32 * launches, 1024 * launches)
        }
    assert found[7, "shared", "reads"].factor == 32
    assert found[8, "global", "writes"].factor == 8


def test_vectors_go_in_quarters_of_a_warp(engine):
    engine.run("costs.cu", "vectors", (1, 1, 1), (32, 1, 1), (aligned(128), aligned(128)))
    assert {(c.memory, c.requests, c.cost, c.factor) for c in engine.profile()} == {
        ("global", 1, 16, 1), ("shared", 1, 4, 1)
    }  # fmt: skip


def test_a_profile_needs_mode_check(engine):
    with pytest.raises(ValueError, match="profile needs mode check, got 'fast'"):
        Emulator("fast", profile=True)
    with pytest.raises(ValueError, match="profile=True"):
        Emulator("check").profile()
