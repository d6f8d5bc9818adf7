"""Offsets of more than 31 bits: arrays of 8 GB, of which only the few pages that are used exist,
and grids of which only one block runs."""

import contextlib
import mmap

import numpy as np
import pytest

from tinyfcn.backend.cuda import CudaBackend
from tinyfcn.backend.cuda.emulator import Emulator
from tinyfcn.backend.cuda.gemm import VERSIONS

HALF, SIDE = 2**30, 2**15  # element 2 · HALF is the first that an int cannot count
NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)  # has no name before Python 3.13
ONE = np.ones(1, "float32")
FIRST = np.array([0, 1], "int32")
WINDOW = (1, 1, 1, 1, 0, 0, 1, 1)  # kernel, stride, padding, dilation
# A convolution of three images of SIDE × SIDE, which sees one pixel of each.
CONV = (3, 1, SIDE, SIDE, 1, 1, 1, *WINDOW, 1)
BY_TAP = np.array([1, 0, 0, 0, 10, 0, 0, 0], "float32")  # two weights, each in room for a vector


@pytest.fixture(scope="module")
def launch():
    return CudaBackend(Emulator()).launch


@contextlib.contextmanager
def only(launch, block):
    """Launches run this block of their grid and no other."""
    launch.engine.only = block
    yield
    launch.engine.only = None


def zeros(count=2 * HALF + 64, dtype="float32"):
    """An array of zeros, which reaches a little beyond element 2 · HALF."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NO_RESERVE
    return np.frombuffer(mmap.mmap(-1, 4 * count, flags=flags), dtype)


@pytest.fixture(scope="module")
def large():
    """Zeros, but for 1, 2 and 300 at 0, HALF and 2 · HALF."""
    array = zeros()
    array[::HALF] = 1, 2, 300
    array.flags.writeable = False
    return array


def new(count=3, dtype="float32"):
    return np.full(count, np.nan if dtype == "float32" else -1, dtype)


@pytest.mark.parametrize("version", VERSIONS)
def test_rows_of_a_matrix(launch, large, version):
    c, (_, threads) = new(), VERSIONS[version]
    last = version == "7"
    name = "gemm_7<Tf32>" if last else f"gemm_{version}"
    results, share = ([None, c], [32]) if last else ([c], [])
    launch(name, 1, threads, large, HALF, 1, ONE, 1, 1, *results, 3, 1, 1, *share)
    assert c.tolist() == [1, 2, 300]


def test_images_and_channels_of_a_pointwise_convolution(launch, large):
    y, weight = zeros(), np.array([2], "float32")
    launch("conv1x1", (1, 1, 3), 128, weight, 1, 1, large, None, y, 1, HALF, 1, 0)
    assert y[::HALF].tolist() == [2, 4, 600]
    y, weight = new(64), np.ones(3, "float32")
    launch("conv1x1", 1, 128, weight, 3, 1, large, None, y, 1, HALF, 3, 0)
    assert y.tolist() == [303, *[0] * 63]


def test_images_of_a_convolution(launch, large):
    y = new()
    launch("conv2d", 1, 128, large, ONE, None, y, *CONV, 0)
    assert y.tolist() == [1, 2, 300]
    y = new()
    launch("conv2d_tensor<Tf32>", 1, 128, large, BY_TAP[:4], None, None, y, *CONV, 0, 32)
    assert y.tolist() == [1, 2, 300]
    y = new()
    launch.each("conv2d_direct", 3, large, ONE, None, y, *CONV, 0)
    assert y.tolist() == [1, 2, 300]
    gy = np.array([1, 10, 0.5], "float32")
    gw = new(1)
    launch("conv2d_weight_grad", 1, 128, large, gy, gw, *CONV, 16)
    assert gw[0] == 171
    gw = new(1)
    launch("conv2d_tensor_weight_grad<Tf32>", 1, 128, large, gy, gw, *CONV, 32)
    assert gw[0] == 171
    gw = new(1)
    launch("depthwise_weight_grad", 1, 128, large, gy, gw, *CONV, 16)
    assert gw[0] == 171
    gw = new(1)
    launch.each("conv2d_direct_weight_grad", 1, large, gy, gw, *CONV)
    assert gw[0] == 171


# Of three images of 2²⁹ pixels, one channel here and two there; the third begins at 2³⁰ and 2³¹.
PIXELS = HALF // 2
WIDE = (3, 1, 1, PIXELS, 2, 1, PIXELS, *WINDOW, 1)
THIRD = 2 * PIXELS


def test_pixels_of_a_convolution(launch, large):
    y, weight, x = zeros(3 * HALF), np.array([1, 10], "float32"), zeros()
    x[THIRD] = 7
    grid = (3 * PIXELS // 64, 1, 1)
    with only(launch, THIRD // 64):
        launch("conv2d", grid, 128, x, weight, None, y, *WIDE, 0)
    assert y[2 * HALF] == 7 and y[2 * HALF + PIXELS] == 70
    y[2 * HALF :: PIXELS], grid = 0, (3 * PIXELS // 128, 1, 1)
    with only(launch, THIRD // 128):
        launch("conv2d_tensor<Tf32>", grid, 128, x, BY_TAP, None, None, y, *WIDE, 0, 32)
    assert y[2 * HALF] == 7 and y[2 * HALF + PIXELS] == 70


def test_input_gradients(launch, large):
    gy, weight = zeros(3 * HALF), np.array([1, 10], "float32")
    gy[2 * HALF], gy[2 * HALF + PIXELS] = 5, 7
    gx = zeros()
    with only(launch, THIRD // 64):
        launch("conv2d_input_grad", (3 * PIXELS // 64, 1, 1), 128, gy, weight, None, gx, *WIDE)
    assert gx[THIRD] == 75
    gx[THIRD], name, grid = 0, "conv2d_tensor_input_grad<Tf32>", (3 * PIXELS // 128, 1, 1)
    with only(launch, THIRD // 128):
        by_tap = np.array([1, 10, 0, 0], "float32")
        launch(name, grid, 128, gy, by_tap, None, None, gx, *WIDE, 0, 32)
    assert gx[THIRD] == 75
    gx = zeros()
    with only(launch, THIRD // 256):
        grid = 3 * PIXELS // 256
        launch("conv2d_direct_input_grad", grid, 256, gy, weight, None, gx, *WIDE, 3 * PIXELS)
    assert gx[THIRD] == 75
    # two channels here, one there: what is written lies beyond
    gx, wide, weight = zeros(3 * HALF), (3, 2, 1, PIXELS, 1, *WIDE[5:]), weight.copy()
    gy[THIRD] = 3
    with only(launch, THIRD // 64):
        launch("conv2d_input_grad", (3 * PIXELS // 64, 1, 1), 128, gy, weight, None, gx, *wide)
    assert gx[2 * HALF] == 3 and gx[2 * HALF + PIXELS] == 30


def test_all_gradients_at_once(launch, large):
    kept, parts, x = zeros(3 * HALF), zeros(), np.array([1, 10, 0.5], "float32")
    sizes = 3, 1, 1, 1, HALF, 1, 1, *WINDOW, 1  # so many channels there, of which one block sees 64
    arrays = large, None, x, ONE, None, kept, parts
    launch("conv2d_grads", 1, 128, *arrays, *sizes, 0, 16, 1)
    assert parts[0] == 171 and parts[HALF] == 303 and kept[2 * HALF] == 300


def test_channels_of_columns(launch, large):
    sizes = (1, 3, SIDE, SIDE, 1, SIDE, SIDE, *WINDOW, 1)
    for kernel in ("im2col", "col2im"):
        to = zeros()
        with only(launch, 2 * HALF // 256):
            launch(kernel, 2 * HALF // 256 + 1, 256, large, to, *sizes, 2 * HALF + 64)
        assert to[2 * HALF] == 300


def test_planes_of_unpooling(launch, large):
    y, indices = new(), zeros(dtype="int32")
    launch.each(
        "scatter_plane", 3, large, indices, np.zeros(3, "int32"), y, 1, 1, SIDE, SIDE, *WINDOW
    )
    assert y.tolist() == [1, 2, 300]
    block, indices = 2**26, zeros(2**32 + 64, "int32")  # an unsigned int counts further
    foreign = zeros(block + 1, "int32")
    foreign[block], indices[2**32 :] = -1, range(64)  # zeros would be foreign in all but one window
    with only(launch, block):
        launch("any_foreign", block + 1, 256, indices, foreign, 8, 8, 8, *WINDOW)
    assert foreign[block] == 0


@pytest.mark.parametrize("name", ["sum_parts", "relu"])
def test_a_loop_over_elements(launch, name):
    """That of FOR_EACH or for_each_vector, in a grid of so many threads that 32 bits do not count
    them. The arrays begin where no vector does."""
    blocks, x, y = 2**24, zeros(2**32 + 2)[1:], zeros(2**32 + 2)[1:]
    numbers = (1, 2**32 + 1) if name == "sum_parts" else (2**32 + 1,)
    x[0], x[2**32] = 1, 2
    with only(launch, 0):  # whose first thread has both
        launch(name, blocks, 256, x, y, *numbers)
    assert y[0] == 1 and y[2**32] == 2
    y[0] = y[2**32] = 0
    with only(launch, blocks):
        launch(name, blocks + 1, 256, x, y, *numbers)
    assert y[0] == 0 and y[2**32] == 2


def test_planes_of_pooling_and_resampling(launch, large):
    y, where = new(), new(dtype="int32")
    launch.each("max_pool2d", 3, large, y, where, SIDE, SIDE, 1, 1, *WINDOW)
    assert y.tolist() == [1, 2, 300] and not where.any()
    x, pooled = zeros(2 * HALF + 2 * SIDE), zeros(3 * HALF // 4)
    x[2 * HALF], pairs = 300, (SIDE // 2, SIDE // 2, 2, 2, 2, 2, 0, 0, 1, 1)
    with only(launch, HALF // 1024):  # 256 threads of two windows each
        grid = 3 * HALF // 2048
        launch("max_pool2d", grid, 256, x, pooled, None, SIDE, SIDE, *pairs, pooled.size)
    assert pooled[2 * HALF // 4] == 300
    y = new()
    launch.each("gather_plane", 3, large, np.zeros(3, "int32"), y, HALF, 1)
    assert y.tolist() == [1, 2, 300]
    y = new()
    bands = FIRST, ONE, 1, FIRST, ONE, 1
    launch.each("resample2d", 3, large, None, y, None, *bands, SIDE, SIDE, 1, 1)
    assert y.tolist() == [1, 2, 300]


def test_a_divisor_of_33_bits(launch, large):
    y = new()
    launch.each("gather_plane", 3, large, np.zeros(3, "int32"), y, HALF, 2**32 + 1)
    assert y.tolist() == [1, 1, 1]


def test_classes_of_a_pixel(launch, large):
    loss = new(1)
    launch.each("cross_entropy", 1, large, np.array([1], "int32"), loss, 3, HALF)
    np.testing.assert_allclose(loss, 298, rtol=1e-6)  # e¹ and e² are nothing beside e³⁰⁰
    images, labels = zeros(3 * HALF), np.full(2 * SIDE + 1, -1, "int32")
    images[2 * HALF], labels[-1] = 300, 1  # the first pixel of the third image
    gx = zeros()
    launch.each("cross_entropy_grad", 1, ONE, large, np.array([1], "int32"), gx, 3, HALF)
    assert gx[::HALF].tolist() == [0, -1, 1]
    loss = new(labels.size)
    launch.each("cross_entropy", labels.size, images, labels, loss, SIDE, SIDE)
    assert loss[-1] == 300 and not loss[:-1].any()


def test_channels_of_normalization(launch, large):
    means, squares = np.empty(3), np.empty(3)
    launch("batch_norm_parts", 3, 256, large, means, squares, 3, HALF, 4, 1)
    assert means.tolist() == [0.25, 0.5, 75] and squares.tolist() == [0.75, 3, 67500]
    y, one = zeros(), np.ones(3, "float32")
    vectors = np.array([1, 2, 3], "float32"), one, one, 0 * one
    with only(launch, 2 * HALF // 1024):  # 256 threads of four pixels each
        launch("batch_norm", 2**22, 256, large, *vectors, y, 3, HALF, 0, large.size)
    assert y[2 * HALF :].tolist() == [297, *[-3] * 63]
    y = new(1)
    launch.each("local_response_norm", 1, large, y, 3, HALF, 5, 0.5, 1.0, 1.0)
    np.testing.assert_allclose(y, 1 / (1 + 0.5 * (1 + 4 + 300**2)), rtol=1e-6)


def test_channels_of_a_sum(launch, large):
    sums = np.empty(3)
    launch("sum_pixels", 3, 256, large, None, None, sums, 3, HALF, 4, 1)
    assert sums.tolist() == [1, 2, 300]
    pixels = 2**31 + 2**12
    x, sums = zeros(2 * pixels), np.empty(2)
    x[1024] = 7  # of thread 0, after a step
    launch("sum_pixels", 2, 256, x, None, None, sums, 2, pixels, 2048, 1)
    assert sums.tolist() == [7, 0]
