"""Unpooling without indices: ``kernels/unpooling.cu``."""

from __future__ import annotations

from tinyfcn.backend.base import Pair
from tinyfcn.backend.cuda.family import Array, Family


class Unpooling(Family):
    """See the section of the same name in ``tinyfcn.backend.base``."""

    def unpool_nearest(self, x: Array, factor: Pair) -> Array:
        """The pixel in its whole cell: (N, C, H, W) → (N, C, H · FH, W · FW)."""
        return self._grow("unpool_nearest", x, factor)

    def unpool_nearest_adjoint(self, gy: Array, factor: Pair) -> Array:
        """The sum of each cell: (N, C, H · FH, W · FW) → (N, C, H, W)."""
        return self._shrink("unpool_nearest_adjoint", gy, factor)

    def unpool_bed_of_nails(self, x: Array, factor: Pair) -> Array:
        """The pixel in the top left corner of its cell, else 0."""
        return self._grow("unpool_bed_of_nails", x, factor)

    def unpool_bed_of_nails_adjoint(self, gy: Array, factor: Pair) -> Array:
        """The top left corner of each cell."""
        return self._shrink("unpool_bed_of_nails_adjoint", gy, factor)

    def _grow(self, name: str, x: Array, factor: Pair) -> Array:
        n, c, h, w = x.shape
        y = self.empty((n, c, h * factor[0], w * factor[1]), x.dtype)
        self.launch.each(name, y.size, x, y, w, *factor, y.size)
        return y

    def _shrink(self, name: str, gy: Array, factor: Pair) -> Array:
        n, c, h, w = gy.shape
        gx = self.empty((n, c, h // factor[0], w // factor[1]), gy.dtype)
        self.launch.each(name, gx.size, gy, gx, gx.shape[3], *factor, gx.size)
        return gx
