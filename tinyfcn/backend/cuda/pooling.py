"""Max pooling, and scatter and gather by its indices: ``kernels/max_pool.cu``."""

from __future__ import annotations

import numpy as np

from tinyfcn.backend.base import Array, Pair
from tinyfcn.backend.cuda.family import Family
from tinyfcn.backend.cuda.kernels import constant

THREADS = constant("max_pool.cu", "THREADS")  # of any_foreign


class Pooling(Family):
    """Planes have fewer than 2³¹ pixels here; larger ones would need indices of 64 bits."""

    def max_pool2d(
        self, x: Array, size: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair,
        indices: bool,
    ) -> tuple[Array, Array | None]:  # fmt: skip
        _check_plane("max_pool2d", x.shape[2:])
        y = self.empty((*x.shape[:2], *size), x.dtype)
        where = self.empty(y.shape, np.int32) if indices else None
        self.launch.each(
            "max_pool2d", y.size, x, y, where, *x.shape[2:], *size,
            *kernel, *stride, *padding, *dilation, y.size,
        )  # fmt: skip
        return y, where

    def scatter_plane(
        self, x: Array, indices: Array, size: Pair,
        kernel: Pair, stride: Pair, padding: Pair, dilation: Pair,
    ) -> Array:  # fmt: skip
        _check_plane("scatter_plane", size)
        _check_plane("scatter_plane", x.shape[2:])
        indices = indices.astype(np.int32, copy=False)
        n, c, oh, ow = x.shape
        y = self.empty((n, c, *size), x.dtype)
        window = *kernel, *stride, *padding, *dilation
        foreign = self.empty((n * c,), np.int32)
        self.launch("any_foreign", n * c, THREADS, indices, foreign, size[1], oh, ow, *window)
        self.launch.each(
            "scatter_plane", y.size, x, indices, foreign, y, *size, oh, ow, *window, y.size
        )
        return y

    def gather_plane(self, x: Array, indices: Array) -> Array:
        _check_plane("gather_plane", x.shape[2:])
        indices = indices.astype(np.int32, copy=False)
        y = self.empty(indices.shape, x.dtype)
        planes = x.shape[2] * x.shape[3], y.shape[2] * y.shape[3]
        self.launch.each("gather_plane", y.size, x, indices, y, *planes, y.size)
        return y


def _check_plane(op: str, size: Pair) -> None:
    if size[0] * size[1] >= 2**31:
        raise ValueError(f"{op}: kernels take planes of fewer than 2³¹ pixels, got {size}")
