"""The emulator's tensor cores: how they round, and where a warp holds a matrix."""

import numpy as np
import pytest

from tinyfcn.backend.cuda.emulator import Emulator, KernelError

SOURCE = """
typedef unsigned int u32;

__global__ void round_all(const float* x, u32* tf32, u32* bf16, u32* fp16) {
    const int i = 32 * blockIdx.x + threadIdx.x;
    tf32[i] = to_tf32(x[i]);
    bf16[i] = to_bf16(x[i], 1.0f);
    fp16[i] = to_fp16(1.0f, x[i]);
}

__global__ void multiply(const u32* a, const u32* b, float* c, int bits, int lanes) {
    const int upper = threadIdx.x / 4, i = threadIdx.x % 4;  // as PTX describes fragments
    const u32 left[4] = {a[8 * upper + i], a[8 * (upper + 8) + i],
                         a[8 * upper + i + 4], a[8 * (upper + 8) + i + 4]};
    const u32 right[2] = {b[8 * upper + i], b[8 * upper + i + 4]};
    float sum[4] = {1, 2, 3, 4};
    if ((int)threadIdx.x < lanes) {
        if (bits == 19) mma_tf32(sum, left, right);
        if (bits == 8) mma_bf16(sum, left, right);
        if (bits == 16) mma_fp16(sum, left, right);
    } else {
        __syncthreads();
    }
    for (int e = 0; e < 4; ++e) c[8 * (upper + e / 2 * 8) + 2 * i + e % 2] = sum[e];
}
"""
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 3.4028235e38, 65504, 65519.99, 65520, 65536, 1e-8,
           6e-8, 2**-24, 2**-25, 1.5 * 2**-25, 2**-14, 6.1e-5, 2**-126, 1e-40]  # fmt: skip


@pytest.fixture
def engine(tmp_path):
    (tmp_path / "cores.cu").write_text(SOURCE)
    return Emulator(folder=tmp_path)


def cut(x, bits):
    """The neighbours of float32 numbers with ``bits`` bits less, below and above in size."""
    below = x.view(np.uint32) >> bits << bits
    return below.view(np.float32), (below + (1 << bits)).view(np.float32)


def nearest(x, bits, even):
    """The nearest with ``bits`` bits less; of two the even one, or the one further from 0."""
    below, above = cut(x, bits)
    down, up = (np.abs(v.astype(np.float64) - x) for v in (below, above))
    odd = (below.view(np.uint32) >> bits) & 1
    with np.errstate(invalid="ignore"):
        return np.where((down < up) | ((down == up) & even & (odd == 0)), below, above)


def test_rounding_is_that_of_the_hardware(engine, rng):
    x = (rng.standard_normal(4096) * 2.0 ** rng.integers(-30, 20, 4096)).astype(np.float32)
    ties = np.concatenate([(cut(x, bits)[0].view(np.uint32) + (1 << bits - 1)).view(np.float32)
                           for bits in (13, 16)])  # fmt: skip
    x = np.concatenate([x, ties, np.float32(SPECIAL)])
    x = np.resize(x, -(-x.size // 32) * 32)
    tf32, bf16, fp16 = (np.zeros(x.shape, np.uint32) for _ in range(3))
    engine.run("cores.cu", "round_all", (x.size // 32, 1, 1), (32, 1, 1), (x, tf32, bf16, fp16))
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(
            (fp16 >> 16).astype(np.uint16).view(np.float16), x.astype("f2")
        )
    np.testing.assert_array_equal(fp16 & 0xFFFF, 0x3C00)  # 1, the earlier term, is low
    np.testing.assert_array_equal(bf16 >> 16, 0x3F80)
    finite = np.isfinite(x) & (np.abs(x) < 3e38)
    rounded = (bf16 << 16).view(np.float32)
    np.testing.assert_array_equal(rounded[finite], nearest(x[finite], 16, even=True))
    np.testing.assert_array_equal(tf32.view(np.float32)[finite], nearest(x[finite], 13, even=False))
    for result in (rounded, tf32.view(np.float32)):
        np.testing.assert_array_equal(result[~finite], np.where(x > 3e38, np.inf, x)[~finite])


@pytest.mark.parametrize("bits, dtype", [(19, np.float32), (16, np.float16), (8, None)])
def test_a_warp_multiplies_two_matrices(engine, rng, bits, dtype):
    terms = 8 if bits == 19 else 16
    a, b = (rng.integers(-8, 9, (lines, terms)).astype(np.float32) for lines in (16, 8))
    if dtype is None:
        words = [(x.view(np.uint32) >> 16).astype(np.uint16).view(np.uint32) for x in (a, b)]
    else:
        words = [x.astype(dtype).view(np.uint32) for x in (a, b)]
    c = np.zeros((16, 8), np.float32)
    arguments = *words, c, np.int32(bits)
    engine.run("cores.cu", "multiply", (1, 1, 1), (32, 1, 1), (*arguments, np.int32(32)))
    begun = np.tile([[1, 2]], (16, 4)) + np.repeat([0, 2], 8)[:, None]
    np.testing.assert_array_equal(c, begun + a @ b.T)
    with pytest.raises(KernelError) as caught:
        engine.run("cores.cu", "multiply", (1, 1, 1), (32, 1, 1), (*arguments, np.int32(31)))
    assert caught.value.kind == "warp diverged"
