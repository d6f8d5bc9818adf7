"""Sums over any axes of any memory order, as exact as pairwise ones.

NumPy adds in pairs along the axis that lies densest in memory, but row after row along any other:
of 20 million ones in float32 that is 16,777,216. So rows are added in runs of a fixed length, then
the sums of the runs, and so on.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyfcn.backend.base import Backend

RUN = 256  # rows added one after the other
FEW = 1 << 10  # elements that are added as they come


class Sums(Backend):
    """Axes that lie together in memory as one, the densest first."""

    def sum(self, x: Any, axes: tuple[int, ...]) -> Any:
        if x.size <= FEW or not axes:
            return x.sum(axes, keepdims=True, dtype=x.dtype)
        order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))
        merged: list[list[Any]] = []  # size, stride, whether it is summed over
        for axis in order:
            size, stride, summed = x.shape[axis], x.strides[axis], axis in axes
            if merged and merged[-1][1:] == [size * stride, summed]:
                merged[-1][:2] = merged[-1][0] * size, stride
            elif size > 1:
                merged.append([size, stride, summed])
        y = x.transpose(order).reshape([size for size, _, _ in merged])
        for axis in reversed(range(y.ndim)):
            if merged[axis][2]:
                y = sum_axis(y, axis)
        y = y.reshape([1 if axis in axes else x.shape[axis] for axis in order])
        return y.transpose(np.argsort(order))


def sum_axis(x: Any, axis: int) -> Any:
    """The sum along one axis, kept as size 1."""
    size = x.shape[axis]
    if size <= RUN or axis == x.ndim - 1:
        return x.sum(axis, keepdims=True, dtype=x.dtype)
    whole, rest = np.split(x, [size // RUN * RUN], axis)
    runs = whole.reshape(*x.shape[:axis], -1, RUN, *x.shape[axis + 1 :])
    sums = runs.sum(axis + 1, dtype=x.dtype)
    return sum_axis(sums, axis) + rest.sum(axis, keepdims=True, dtype=x.dtype)
