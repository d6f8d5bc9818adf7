"""Matrix products with a tall side, in pieces that BLAS multiplies fastest.

OpenBLAS copies both sides of a large product into the order in which its kernel reads them. Between
few channels that costs as much as the multiplications. On CPUs with AVX-512 it has kernels that
read the sides as they lie, and takes them for up to ``SMALL`` multiplications: products with few
columns are up to a quarter faster so, and weight gradients twice as fast. On other CPUs products
are left whole.
"""

from __future__ import annotations

import math

import numpy as np
import threadpoolctl

from tinyfcn.backend.cpu.layout import Array
from tinyfcn.backend.cpu.threads import split

AVX512 = {"SkylakeX", "Cooperlake", "SapphireRapids"}  # OpenBLAS's names for its kernels
IN_PLACE = any(pool.get("architecture") in AVX512 for pool in threadpoolctl.threadpool_info())
SMALL = 10**6  # multiplications
SHORTEST = 64  # rows of a sum of products; in shorter pieces it would be added to too often
FEW_COLUMNS = 64  # stay in the registers
LONG = 1 << 15  # numbers of a few rows: a call is dear, and ``SMALL`` holds for them too
STEP = 12  # rows: the kernels take 4 or 6 at a time


def pieces(rows: int, multiplications: int, shortest: int) -> tuple[int, int]:
    """How many pieces, and of how many rows, if a row takes so many multiplications."""
    longest = SMALL // multiplications // STEP * STEP
    if not IN_PLACE or longest < shortest or rows <= longest:
        return 1, rows
    return rows // longest, longest


def reads_in_place(k: int) -> bool:
    """Whether rows of K can be multiplied by ``FEW_COLUMNS`` without copies."""
    return IN_PLACE and k * FEW_COLUMNS * STEP <= SMALL


def tall_product(a: Array, b: Array, out: Array) -> None:
    """out = a · b, (…, rows, K) · (…, K, N): some columns and a piece of the rows at a time."""
    rows, (k, n) = a.shape[-2], b.shape[-2:]
    for columns in split(n, FEW_COLUMNS if reads_in_place(k) else n):
        found, matrix = out[..., columns], b[..., columns]
        count, length = pieces(rows, k * matrix.shape[-1], STEP)
        # Those kernels read a transposed side slowly.
        matrix = np.ascontiguousarray(matrix) if count > 1 else matrix
        whole = count * length
        np.matmul(_cut(a, count, length), matrix[..., None, :, :], out=_cut(found, count, length))
        if whole < rows:
            np.matmul(a[..., whole:, :], matrix, out=found[..., whole:, :])


def combine(matrix: Array, rows: Array, out: Array) -> None:
    """out = matrix · rows, (M, K) · (…, K, W, C): sums of a few long rows with small factors.

    As a product they are one pass over memory and one call; NumPy needs one for every addition.
    """
    matrix = matrix.astype(rows.dtype)
    rows, flat = (a.reshape(*a.shape[:-2], math.prod(a.shape[-2:])) for a in (rows, out))
    for piece in split(flat.shape[-1], LONG):
        np.matmul(matrix, rows[..., piece], out=flat[..., piece])
    if not np.may_share_memory(flat, out):  # some of the channels of a larger array
        out[...] = flat.reshape(out.shape)


def product_over_rows(a: Array, b: Array) -> Array:
    """aᵀ · b, (…, rows, M)ᵀ · (…, rows, N): pieces of the rows, whose products are added up."""
    rows = a.shape[-2]
    count, length = pieces(rows, a.shape[-1] * b.shape[-1], SHORTEST)
    whole = count * length
    parts = np.matmul(_cut(a, count, length).swapaxes(-1, -2), _cut(b, count, length))
    total: Array = parts.sum(-3)
    if whole < rows:
        total += a[..., whole:, :].swapaxes(-1, -2) @ b[..., whole:, :]
    return total


def _cut(a: Array, count: int, length: int) -> Array:
    """(…, rows, N) → (…, count, length, N), a view of the first rows."""
    return a[..., : count * length, :].reshape(*a.shape[:-2], count, length, a.shape[-1])
