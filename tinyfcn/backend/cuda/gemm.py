"""Matrix products: ``kernels/gemm.cu`` in its versions, or the library of the engine."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinyfcn.backend.base import Array
from tinyfcn.backend.cuda.family import Family
from tinyfcn.backend.cuda.kernels import constant
from tinyfcn.backend.cuda.launcher import Engine
from tinyfcn.backend.errors import BackendError
from tinyfcn.backend.half import HALF, PRODUCTS, narrow, products
from tinyfcn.backend.setting import Setting

TILE, THREADS = constant("tile.cuh", "TILE"), constant("tile.cuh", "THREADS")
SIDE = constant("gemm.cu", "SIDE")
TENSOR = constant("pipeline.cuh", "LINES")  # and threads
STEP = constant("pipeline.cuh", "LINE") // 2  # terms of 16 bits
OLDEST = 80  # compute capability: 8.0
RESIDENT = 2  # blocks of tensor.cuh that a multiprocessor has room for
SHORTEST = 256  # terms of a share of a sum

# Of the versions in gemm.cu, the tile and the threads of a block.
SQUARE = SIDE, SIDE
VERSIONS: dict[str, tuple[int, Any]] = {
    "1": (SIDE, SQUARE), "2": (SIDE, SQUARE), "3": (TILE, SQUARE), "4": (TILE, THREADS),
    "5": (2 * TILE, 2 * THREADS), "6": (2 * TILE, 2 * THREADS),
    "7": (TENSOR, TENSOR),
}  # fmt: skip

# "cublas" is the array module's own product; "auto" is that on a GPU, version 4 in the emulator.
algorithm = Setting("TINYFCN_CUDA_GEMM", ("auto", *VERSIONS, "cublas"))

# The relative error that an operand has which is rounded so; sums are of float32 in each.
ROUNDING = {"float32": 0.0, "tf32": 2.0**-11, "bf16": 2.0**-8, "fp16": 2.0**-11}


def tensor_product() -> str:
    """What tensor cores round to: TF32 where ``products`` does not say."""
    return "tf32" if products() == "float32" else products()


def tiles(size: int, tile: int = TILE) -> int:
    """How many tiles cover ``size`` elements."""
    return -(-size // tile)


class Gemm(Family):
    """Matrix products of arrays of one floating dtype."""

    native = frozenset({"matmul"})

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        if engine.capability < OLDEST:
            self.native -= {*PRODUCTS}

    def matmul(self, a: Array, b: Array) -> Array:
        if HALF not in (a.dtype, b.dtype):
            return super().matmul(a, b)
        if (a.ndim, b.ndim) == (2, 2):
            return self.gemm(a, b, self.empty((len(a), b.shape[1]), HALF))
        return narrow(super().matmul(*(narrow(x).astype(np.float32) for x in (a, b))))

    def gemm(self, a: Array, b: Array, out: Array | None = None) -> Array:
        """a · b: (M, K) and (K, N) → (M, N), into the C-contiguous ``out`` if given.

        A transposed matrix (``a.T``) is read where it lies; any other order is copied. Versions
        from 5 on are for float32; float64 takes version 4 then, and float16 always version 7.
        """
        (m, k), (inner, n) = a.shape, b.shape
        if inner != k:
            raise ValueError(f"gemm: a has {k} columns, but b has {inner} rows: {a.shape, b.shape}")
        c = self.empty((m, n), self.xp.result_type(a, b)) if out is None else out
        version = algorithm()
        rounded = c.dtype == np.float32 and products() != "float32"
        if version == "auto":
            version = "7" if rounded else "4" if isinstance(c, np.ndarray) else "cublas"
        if HALF in (a.dtype, b.dtype):
            version = "7"
        if version == "cublas":
            return self.xp.matmul(a, b, out=c)
        version = min(version, "4") if c.dtype == np.float64 else version
        tile, block = VERSIONS[version]
        grid = tiles(n, tile), tiles(m, tile)
        if version != "7":
            operands = *self._strided(a), *self._strided(b)
            self.launch(f"gemm_{version}", grid, block, *operands, c, m, n, k)
            return c
        shares, share = self.shares(math.prod(grid), k)
        name, a, b = self.on_tensor_cores("gemm_7", a, b)
        whole, parts = self.results(c, shares)
        operands = *self._strided(a), *self._strided(b)
        self.launch(name, (*grid, shares), block, *operands, whole, parts, m, n, k, share)
        if shares > 1:
            self.finish(parts, None, c, relu=False)
        return c

    def results(self, y: Array, shares: int) -> tuple[Array | None, Array | None]:
        """Where a product on tensor cores goes, one of them None: float16, and sums of float32."""
        if shares > 1:
            return None, self.empty((shares, *y.shape), np.float32)
        return (y, None) if y.dtype == HALF else (None, y)

    def finish(self, parts: Any, bias: Array | None, y: Array, relu: bool) -> None:
        """y (N, C, …): the sum of its parts (S, N, C, …), + bias, and cut off below 0."""
        name = f"finish_parts<{'Fp16' if y.dtype == HALF else 'Tf32'}>"
        sizes = len(parts), y.shape[1], math.prod(y.shape[2:])
        self.launch.each(name, y.size, parts, bias, y, *sizes, relu)

    def on_tensor_cores(self, kernel: str, *operands: Array) -> tuple[Any, ...]:
        """The instance of a kernel that rounds to ``tensor_product``, or takes float16; and its
        operands, of the dtype that this has in memory.

        Raises:
            BackendError: if the GPU has no such tensor cores.
        """
        half = any(a.dtype == HALF for a in operands)
        product = "fp16" if half else tensor_product()
        if self.engine.capability < OLDEST:
            raise BackendError(
                f"products in {product}: expected a GPU of compute capability 8.0 or "
                f"later, got one of {self.engine.capability / 10}"
            )
        if product == "fp16":
            operands = tuple(map(narrow, operands))
        return f"{kernel}<{product.capitalize()}>", *operands

    def shares(self, blocks: int, terms: int) -> tuple[int, int]:
        """Into how many shares sums are cut, and the terms of each: so many that the device is full
        of blocks, as long as each has enough to do."""
        room = RESIDENT * self.engine.processors // max(blocks, 1)
        share = STEP * tiles(terms, STEP * max(min(room, terms // SHORTEST), 1))
        return max(tiles(terms, max(share, 1)), 1), share

    def _strided(self, a: Array) -> tuple[Array, int, int]:
        """An array, and how far apart rows and columns of ``a`` lie in it, made C-contiguous."""
        if not a.flags.c_contiguous and a.T.flags.c_contiguous:
            return a.T, 1, a.shape[0]
        return a, a.shape[1], 1
