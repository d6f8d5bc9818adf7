"""All versions of the matrix product against NumPy's in float64."""

import itertools

import numpy as np
import pytest

from tinyfcn.backend.cuda import gemm
from tinyfcn.kernel_lab.cases import aligned

VERSIONS = [*gemm.VERSIONS]
LAST = [version for version in VERSIONS if version >= "4"]
EDGES = (1, 15, 16, 17, 63, 64, 65)  # around the tiles of the first versions,
WIDE = (1, 33, 127, 128, 129)  # and of the later ones


def numbers(rng, version, dtype, *shape):
    """Normal ones; for version 7 with the bits that it leaves them, so that it rounds nothing."""
    drawn = rng.standard_normal(shape).astype(dtype)
    if version == "7" and drawn.dtype == np.float32:
        drawn.view(np.uint32)[...] &= 0xFFFFE000
    return drawn


def arrange(a, how, unaligned):
    """The same matrix, otherwise in memory."""
    if how == "transposed":
        return np.asfortranarray(a)
    if how == "strided":
        wide = np.zeros((a.shape[0], 2 * a.shape[1]), a.dtype)
        wide[:, ::2] = a
        return wide[:, ::2]
    return unaligned(a) if how == "unaligned" else a


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("version", VERSIONS)
def test_any_size(cuda, version, dtype, rng, within_rounding):
    edges = EDGES if gemm.VERSIONS[version][0] <= 64 else WIDE
    for m, n, k in itertools.product(edges, edges, (1, 16, 17, 40)):
        a, b = numbers(rng, version, dtype, m, k), numbers(rng, version, dtype, k, n)
        with gemm.algorithm.using(version):
            c = cuda.gemm(a, b)
        assert c.dtype == dtype
        a, b = a.astype(np.float64), b.astype(np.float64)
        within_rounding(c, a @ b, np.abs(a) @ np.abs(b), k)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("version", VERSIONS)
def test_any_order_in_memory(cuda, version, dtype, rng, within_rounding, unaligned):
    ways = ("plain", "transposed", "strided", "unaligned")
    for (m, n, k), left, right in itertools.product([(65, 68, 36), (3, 70, 18)], ways, ways):
        a, b = numbers(rng, version, dtype, m, k), numbers(rng, version, dtype, k, n)
        out = unaligned(np.full((m, n), np.nan, dtype))
        with gemm.algorithm.using(version):
            c = cuda.gemm(arrange(a, left, unaligned), arrange(b, right, unaligned), out)
        assert c is out
        a, b = a.astype(np.float64), b.astype(np.float64)
        within_rounding(c, a @ b, np.abs(a) @ np.abs(b), k)


@pytest.mark.parametrize("version", VERSIONS)
def test_empty(cuda, version):
    with gemm.algorithm.using(version):
        for m, n, k in [(0, 3, 2), (3, 0, 2), (3, 2, 0)]:
            c = cuda.gemm(np.ones((m, k)), np.ones((k, n)))
            np.testing.assert_array_equal(c, np.zeros((m, n)))


def test_shapes_that_do_not_fit_are_named(cuda):
    with pytest.raises(ValueError, match=r"gemm: a has 3 columns, but b has 4 rows"):
        cuda.gemm(np.ones((2, 3)), np.ones((4, 5)))


def test_the_environment_and_a_with_block_choose(cuda, monkeypatch):
    launched = []
    monkeypatch.setattr(cuda, "launch", lambda name, *_: launched.append(name))

    def product():
        cuda.gemm(np.ones((2, 3)), np.ones((3, 4)))
        return launched.pop() if launched else "cublas"

    monkeypatch.delenv("TINYFCN_CUDA_GEMM", raising=False)
    assert product() == "gemm_4"
    monkeypatch.setenv("TINYFCN_CUDA_GEMM", "2")
    assert product() == "gemm_2"
    with gemm.algorithm.using("cublas"):
        assert product() == "cublas"
    monkeypatch.setenv("TINYFCN_CUDA_GEMM", "9")
    with pytest.raises(ValueError, match=r"TINYFCN_CUDA_GEMM: expected one of auto, 1, .* got '9'"):
        product()


def costs(backend, kernel):
    """The dearest access to each kind of memory: how many times the least."""
    found = {}
    for cost in backend.engine.profile():
        if cost.kernel.startswith(kernel):
            kind = cost.memory, cost.access
            found[kind] = max(found.get(kind, 0), cost.factor)
    return found


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("version", LAST)
def test_every_access_of_the_last_versions_is_cheap(checked, version, dtype, rng, unaligned):
    a, b = rng.standard_normal((128, 48)).astype(dtype), rng.standard_normal((48, 64)).astype(dtype)
    a, b, out = aligned(a), aligned(b), aligned(a @ b)
    turned = [aligned(array.T).T for array in (a, b)]
    kernel = f"gemm_{version if dtype == np.float32 else 4}"
    with gemm.algorithm.using(version):
        for left, right in itertools.product((a, turned[0]), (b, turned[1])):
            checked.gemm(left, right, out)
        found = costs(checked, kernel)
        checked.gemm(unaligned(a), unaligned(b), unaligned(a @ b))
        for left, right in itertools.product((a, np.asfortranarray(a)), (b, b.copy("F"))):
            checked.gemm(left[:17, :35], right[:35, :19])
    assert found["shared", "reads"] == 1  # no bank conflict where most time is spent
    assert found["shared", "writes"] <= 2
    assert found["global", "reads"] == found["global", "writes"] == 1  # whole sectors

    assert costs(checked, kernel)["shared", "writes"] <= 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("version", VERSIONS)
def test_every_access_is_allowed(checked, version, dtype, rng, unaligned):
    a, b = numbers(rng, version, dtype, 17, 35), numbers(rng, version, dtype, 35, 19)
    with gemm.algorithm.using(version):
        for left, right in itertools.product((a, np.asfortranarray(a)), (b, b.copy("F"))):
            np.testing.assert_allclose(checked.gemm(left, right), a @ b, rtol=1e-3, atol=1e-3)
        a, b = a[:16, :32], b[:32, :16]  # whole vectors, but none begins where a vector may
        out = unaligned(np.empty((16, 16), dtype))
        checked.gemm(unaligned(a), unaligned(b), out)
        np.testing.assert_allclose(out, a @ b, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("version", "dtype"),
    [*((v, "float32") for v in VERSIONS), *((v, "float64") for v in VERSIONS if v <= "4")],
)
def test_every_access_to_a_part_of_a_wider_matrix_stays_inside(
    checked, version, transposed, dtype, rng
):
    """The last line ends where the memory does, in the middle of a vector."""
    m, n, k, wide = 65, 66, 18, 68
    tile, block = gemm.VERSIONS[version]
    grid = gemm.tiles(n, tile), gemm.tiles(m, tile)
    matrices, operands = [], []
    for rows, columns in ((k, m), (n, k)) if transposed else ((m, k), (k, n)):
        memory = numbers(rng, version, dtype, (rows - 1) * wide + columns)
        strides = wide * memory.itemsize, memory.itemsize
        matrix = np.lib.stride_tricks.as_strided(memory, (rows, columns), strides)
        matrices.append(matrix.T if transposed else matrix)
        operands += [memory, 1, wide] if transposed else [memory, wide, 1]
    c = np.empty((m, n), dtype)
    if version == "7":
        checked.launch("gemm_7<Tf32>", grid, block, *operands, None, c, m, n, k, 32)
    else:
        checked.launch(f"gemm_{version}", grid, block, *operands, c, m, n, k)
    np.testing.assert_allclose(c, matrices[0] @ matrices[1], rtol=1e-3, atol=1e-3)
