"""Matrix products: ``kernels/gemm.cu`` in its versions, or the library of the engine."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyfcn.backend.base import Array
from tinyfcn.backend.cuda.family import Family
from tinyfcn.backend.cuda.kernels import constant
from tinyfcn.backend.setting import Setting

TILE, THREADS = constant("tile.cuh", "TILE"), constant("tile.cuh", "THREADS")
SIDE = constant("gemm.cu", "SIDE")

# Of the versions in gemm.cu, the tile and the threads of a block.
SQUARE = SIDE, SIDE
VERSIONS: dict[str, tuple[int, Any]] = {
    "1": (SIDE, SQUARE), "2": (SIDE, SQUARE), "3": (TILE, SQUARE), "4": (TILE, THREADS),
    "5": (2 * TILE, 2 * THREADS), "6": (2 * TILE, 2 * THREADS),
}  # fmt: skip

# "cublas" is the array module's own product; "auto" is that on a GPU, version 4 in the emulator.
algorithm = Setting("TINYFCN_CUDA_GEMM", ("auto", *VERSIONS, "cublas"))


def tiles(size: int, tile: int = TILE) -> int:
    """How many tiles cover ``size`` elements."""
    return -(-size // tile)


class Gemm(Family):
    """Matrix products of arrays of one floating dtype."""

    def gemm(self, a: Array, b: Array, out: Array | None = None) -> Array:
        """a · b: (M, K) and (K, N) → (M, N), into the C-contiguous ``out`` if given.

        A transposed matrix (``a.T``) is read where it lies; any other order is copied. Versions
        from 5 on are for float32; float64 takes version 4 then.
        """
        (m, k), (inner, n) = a.shape, b.shape
        if inner != k:
            raise ValueError(f"gemm: a has {k} columns, but b has {inner} rows: {a.shape, b.shape}")
        c = self.empty((m, n), a.dtype) if out is None else out
        version = algorithm()
        if version == "auto":
            version = "4" if isinstance(c, np.ndarray) else "cublas"
        if version == "cublas":
            return self.xp.matmul(a, b, out=c)
        version = min(version, "4") if c.dtype == np.float64 else version
        tile, block = VERSIONS[version]
        grid = tiles(n, tile), tiles(m, tile)
        operands = *self._strided(a), *self._strided(b)
        self.launch(f"gemm_{version}", grid, block, *operands, c, m, n, k)
        return c

    def _strided(self, a: Array) -> tuple[Array, int, int]:
        """An array, and how far apart rows and columns of ``a`` lie in it, made C-contiguous."""
        if not a.flags.c_contiguous and a.T.flags.c_contiguous:
            return a.T, 1, a.shape[0]
        return a, a.shape[1], 1
