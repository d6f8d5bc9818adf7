"""Depthwise convolution by one kernel u vᵀ under strides, as bilinear upsampling is: y = R x Cᵀ.

The matrix R moves u along the rows of an image and C moves v along its columns, each with few
elements that are not 0; ``resample.py`` multiplies by them in blocks. A pixel takes KH / s + KW / s
multiplications, not KH · KW / s². ∞ and NaN reach the other pixels of their blocks.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tinyfcn.backend.cpu.conv.window import Finish, Window
from tinyfcn.backend.cpu.layout import Array
from tinyfcn.backend.cpu.resample import resample
from tinyfcn.backend.cpu.threads import parallel_for, places
from tinyfcn.backend.sparse import Sparse


class Factors(NamedTuple):
    """The vectors (KH,) and (KW,) of a kernel u vᵀ."""

    u: Array
    v: Array

    def forward(self, x: Array, finish: Finish, window: Window, y: Array) -> None:
        """y = finish(R x Cᵀ)."""
        rows, columns = self._matrices(x, window, y)
        resample(x, rows, columns, y)
        parallel_for(lambda place: finish(y[place]), places(len(y), y.shape[1], 64))

    def input_grad(self, gy: Array, window: Window, gx: Array) -> None:
        """gx = Rᵀ gy C."""
        rows, columns = self._matrices(gx, window, gy)
        resample(gy, rows.T, columns.T, gx)

    def _matrices(self, x: Array, window: Window, y: Array) -> list[Sparse]:
        sizes = zip(self, x.shape[1:3], y.shape[1:3], *window, strict=True)
        return [_matrix(*axis) for axis in sizes]


def _matrix(kernel: Array, inputs: int, outputs: int, s: int, p: int, d: int) -> Sparse:
    """(outputs, inputs): element k of the kernel at input o · s + k · d − p of each output o."""
    o, k = np.divmod(np.arange(outputs * len(kernel)), len(kernel))
    i = o * s + k * d - p
    inside = (i >= 0) & (i < inputs)
    return Sparse((outputs, inputs), o[inside], i[inside], kernel[k[inside]])


def factors(weight: Array) -> Factors | None:
    """Of kernels (C, KH, KW, 1) that are the same u vᵀ to the last bit; None of others.

    Example:
        >>> bilinear = np.outer([0.25, 0.75, 0.75, 0.25], [0.25, 0.75, 0.75, 0.25])
        >>> factors(np.stack([bilinear] * 3)[..., None])
        Factors(u=array([0.25, 0.75, 0.75, 0.25]), v=array([0.25, 0.75, 0.75, 0.25]))
    """
    kernel = weight[0, :, :, 0].astype(np.float64)
    row, column = np.unravel_index(np.abs(kernel).argmax(), kernel.shape)
    largest = float(kernel[row, column])
    if not (0 < largest < math.inf and (weight == weight[:1]).all()):
        return None
    found = Factors(kernel[:, column] / math.sqrt(largest), kernel[row] / math.sqrt(largest))
    return found if (np.outer(*found) == kernel).all() else None
