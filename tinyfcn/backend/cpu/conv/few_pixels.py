"""Forward for some tens of pixels and large weights: yᵀ = W · windowsᵀ.

OpenBLAS multiplies rows of W by up to 64 columns without copying them (``products.py``), at twice
the rate of the product with Wᵀ and near what a CPU can do. So fc6 on 8 × 8 pixels is faster with
the padding, of which 38 % of the windows consist, than without.
"""

from __future__ import annotations

import math

import numpy as np

from tinyfcn.backend.cpu.conv.products import FEW_COLUMNS, split_terms, tall_product
from tinyfcn.backend.cpu.conv.window import Finish, Scratch, Window, padded_windows
from tinyfcn.backend.cpu.layout import Array
from tinyfcn.backend.cpu.threads import parallel_for, split


def applies(shape: tuple[int, ...]) -> bool:
    """Whether an output (N, OH, OW) has few pixels, but some."""
    return 0 < math.prod(shape) <= FEW_COLUMNS


def forward(x: Array, weight: Array, finish: Finish, window: Window, y: Array) -> None:
    """y = finish(conv(x, weight)); the threads share out the channels OC."""
    (n, oh, ow, oc), kernel = y.shape, weight.shape[1:3]
    found = padded_windows(x, slice(0, n), slice(0, oh), ow, kernel, window, Scratch())
    rows, kernels = found.reshape(n * oh * ow, -1), weight.reshape(oc, -1)
    columns = np.empty(rows.shape[::-1], x.dtype)  # (KH · KW · C, pixels)
    parts = split_terms(*columns.shape)

    def turn(part: slice) -> None:
        columns[part] = rows[:, part].T

    def task(channels: slice) -> None:
        block = np.zeros((channels.stop - channels.start, columns.shape[1]), y.dtype)
        product = np.empty_like(block)
        for part in parts:
            tall_product(kernels[channels, part], columns[part], out=product)
            block += product
        pixels = block.T.copy().reshape(n, oh, ow, -1)
        finish(pixels, channels)
        y[..., channels] = pixels

    parallel_for(turn, parts)
    parallel_for(task, split(oc, max(32, -(-oc // 4))))
