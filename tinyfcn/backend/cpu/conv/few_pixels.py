"""Forward for some tens of pixels and large weights: yᵀ = W · windowsᵀ.

OpenBLAS multiplies rows of W by up to 64 columns without copying them (``products.py``), at twice
the rate of the product with Wᵀ and near what a CPU can do. So fc6 on 8 × 8 pixels is faster with
the padding, of which 38 % of the windows consist, than without.
"""

from __future__ import annotations

import numpy as np

from tinyfcn.backend.cpu.conv import products
from tinyfcn.backend.cpu.conv.im2col import im2col
from tinyfcn.backend.cpu.conv.window import Finish, Window
from tinyfcn.backend.cpu.layout import Array
from tinyfcn.backend.cpu.threads import parallel_for, split


def applies(pixels: int) -> bool:
    """Whether an output has few pixels, but some, and BLAS gains by that."""
    return products.IN_PLACE and 0 < pixels <= products.FEW_COLUMNS


def forward(x: Array, weight: Array, finish: Finish, window: Window, y: Array) -> None:
    """y = finish(conv(x, weight)); the threads share out the channels OC."""
    (n, oh, ow, oc), kernel = y.shape, weight.shape[1:3]
    rows, kernels = im2col(x, kernel, window).reshape(n * oh * ow, -1), weight.reshape(oc, -1)
    columns = np.empty(rows.shape[::-1], x.dtype)  # (KH · KW · C, pixels)
    parts = split(len(columns), products.SMALL // (products.STEP * columns.shape[1]))

    def task(channels: slice) -> None:
        block = np.zeros((channels.stop - channels.start, columns.shape[1]), y.dtype)
        product = np.empty_like(block)
        for part in parts:
            products.tall_product(kernels[channels, part], columns[part], out=product)
            block += product
        pixels = block.T.copy().reshape(n, oh, ow, -1)
        finish(pixels, channels)
        y[..., channels] = pixels

    parallel_for(lambda part: np.copyto(columns[part], rows[:, part].T), parts)
    parallel_for(task, split(oc, max(32, -(-oc // 4))))
