"""Max pooling, and scatter and gather by its indices: ``kernels/max_pool.cu``."""

from __future__ import annotations

import numpy as np

from tinyfcn.backend.base import Array, Pair
from tinyfcn.backend.cuda.family import Family
from tinyfcn.backend.cuda.kernels import constant

THREADS = constant("max_pool.cu", "THREADS")  # of any_foreign


class Pooling(Family):
    """Planes have fewer than 2³¹ pixels here; larger ones would need indices of 64 bits."""

    native = frozenset({"max_pool2d", "scatter_plane", "gather_plane"})

    def max_pool2d(
        self, x: Array, size: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair,
        indices: bool,
    ) -> tuple[Array, Array | None]:  # fmt: skip
        _check_planes("max_pool2d", x.shape[2:])
        shape = *x.shape[:2], *size
        where = self.empty(shape, np.int32) if indices else None
        window = *kernel, *stride, *padding, *dilation
        return self.compute("max_pool2d", shape, x, where, *x.shape[2:], *size, *window), where

    def scatter_plane(
        self, x: Array, indices: Array, size: Pair,
        kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, own: bool = False,
    ) -> Array:  # fmt: skip
        _check_planes("scatter_plane", size, x.shape[2:])
        indices = self._narrow(indices)
        n, c, *out = x.shape
        window = *kernel, *stride, *padding, *dilation
        foreign = None if own else self.empty((n * c,), np.int32)
        if not own:
            self.launch("any_foreign", n * c, THREADS, indices, foreign, size[1], *out, *window)
        arrays = x, indices, foreign
        return self.compute("scatter_plane", (n, c, *size), *arrays, *size, *out, *window)

    def gather_plane(self, x: Array, indices: Array) -> Array:
        _check_planes("gather_plane", x.shape[2:])
        indices = self._narrow(indices)
        planes = x.shape[2] * x.shape[3], indices.shape[2] * indices.shape[3]
        return self.compute("gather_plane", indices.shape, x, indices, *planes)

    def _narrow(self, indices: Array) -> Array:
        """In 32 bits; what does not fit into them is −1, which lies in no plane either."""
        narrow = indices.astype(np.int32, copy=False)
        if np.can_cast(indices.dtype, np.int32):
            return narrow
        return self.xp.where(narrow == indices, narrow, np.int32(-1))


def _check_planes(op: str, *sizes: Pair) -> None:
    for height, width in sizes:
        if height * width >= 2**31:
            raise ValueError(
                f"{op}: kernels take planes of fewer than 2³¹ pixels, got {(height, width)}"
            )
