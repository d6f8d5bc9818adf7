"""Winograd's F(m×m, 3×3): 3×3 kernels, fewer multiplications in both directions.

For m × m outputs and tiles of t × t inputs, t = m + 2:

    Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A

With m = 2 that is 16 multiplications instead of 36, with m = 4 36 instead of 144. The transforms
multiply by small constants; flattened over the t² points they are products with the Kronecker
square of B, G or A.

Rounding: the constants of m = 2 are 0, ±½ and ±1, and its results are as good as direct ones; those
of m = 4 reach 5 and 1/24 and cost about one decimal digit in float32.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from tinyfcn.backend.cpu.conv.window import Pair, Scratch, Window, windows
from tinyfcn.backend.cpu.conv.winograd import Block, Winograd
from tinyfcn.backend.cpu.layout import Array

POINTS = {2: (0, 1, -1), 4: (0, 1, -1, 2, -2)}  # where the polynomials are evaluated, besides ∞


def matrices(points: tuple[int, ...]) -> tuple[Array, Array, Array]:
    """Bᵀ, G and Aᵀ as Toom and Cook have them: G and A evaluate polynomials at the points, B holds
    those that are 0 at all points but one. At ∞ the highest coefficient counts.

    Example:
        >>> data, kernel, output = matrices((0, 1, -1))
        >>> output
        array([[ 1.,  1.,  1.,  0.],
               [ 0.,  1., -1.,  1.]])
    """
    n = len(points)
    data, kernel, output = np.zeros((n + 1, n + 1)), np.zeros((n + 1, 3)), np.zeros((n - 1, n + 1))
    for i, point in enumerate(points):
        others = points[:i] + points[i + 1 :]
        data[i, :n] = np.poly(others)[::-1]
        kernel[i] = point ** np.arange(3) / math.prod(point - other for other in others)
        output[:, i] = point ** np.arange(n - 1)
    data[n], kernel[n, 2], output[-1, n] = np.poly(points)[::-1], 1, 1
    return data, kernel, output


class Squares(Winograd):
    """F(m×m, 3×3) with m = 2 or 4."""

    shares_points = True

    def __init__(self, m: int) -> None:
        self.tile = m, m
        self.data, self.kernel, self.output = (np.kron(a, a) for a in matrices(POINTS[m]))

    def applies(self, kernel: Pair, window: Window) -> bool:
        """3×3 kernels without stride."""
        return kernel == (3, 3) and window.stride == (1, 1)

    def gather(self, x: Array, block: Block, window: Window, scratch: Scratch, out: Array) -> None:
        self._transform(x, block, window.origin, self.data, scratch, out)

    def spread(self, gy: Array, block: Block, scratch: Scratch, out: Array) -> None:
        self._transform(gy, block, (0, 0), self.output.T, scratch, out)

    def _transform(
        self, x: Array, block: Block, origin: Pair, matrix: Array, scratch: Scratch, out: Array
    ) -> None:
        """out = matrix · the block's tiles of size × size pixels, m apart; x is zero outside."""
        m, size = self.tile[0], math.isqrt(matrix.shape[1])
        pixels = self.pixels(x, block, origin, (size - m, size - m), scratch)
        seen = windows(pixels, block.shape[1:], (size, size), self.tile).transpose(3, 4, 0, 1, 2, 5)
        tiles = scratch.get("gathered", seen.shape, x.dtype)
        np.copyto(tiles, seen)
        flat = tiles.reshape(size * size, -1)
        np.matmul(matrix.astype(x.dtype), flat, out=out.reshape(len(matrix), -1))

    def interpolate(self, products: Array, block: Block, scratch: Scratch, rows: Array) -> None:
        m, (points, _, oc) = self.tile[0], products.shape
        outputs = scratch.get("outputs", (m, m, *block.shape, oc), products.dtype)
        matrix = self.output.astype(products.dtype)
        np.matmul(matrix, products.reshape(points, -1), out=outputs.reshape(m * m, -1))
        for a, b in itertools.product(range(m), repeat=2):
            target = rows[:, a::m, b::m]
            target[...] = outputs[a, b, :, : target.shape[1], : target.shape[2]]
