"""1×1 convolution: the image is its own matrix of columns, and convolution a matrix product.

With x as (pixels, C) and W as (OC, C): y = x Wᵀ + b, gx = gy W, gW = gyᵀ x.
"""

from __future__ import annotations

import itertools

import numpy as np

from tinyfcn.backend.cpu import threads
from tinyfcn.backend.cpu.conv.products import FEW_COLUMNS, reads_in_place, tall_product
from tinyfcn.backend.cpu.conv.window import SHARES, Finish, Pair, Window, even
from tinyfcn.backend.cpu.layout import Array

BLOCK = 1200 << 10  # elements of the larger side that a thread multiplies at once
PIECE = 5 << 20  # elements of the image, where it multiplies some columns at a time


def applies(kernel: Pair, window: Window) -> bool:
    """1×1 kernels that touch every pixel once."""
    return kernel == (1, 1) and window.stride == (1, 1) and window.padding == (0, 0)


def forward(x: Array, weight: Array, finish: Finish, window: Window, y: Array) -> None:
    """y = x Wᵀ, and what finishes it."""
    _product(x, weight[:, 0, 0].T, finish, y)


def input_grad(gy: Array, weight: Array, window: Window, gx: Array) -> None:
    """gx = gy W; where an output_padding made gx larger than gy, the rest is 0."""
    _, h, w, _ = gy.shape
    gx[:, h:], gx[:, :, w:] = 0, 0
    _product(gy, weight[:, 0, 0], Finish(), gx[:, :h, :w])


def weight_grad(x: Array, gy: Array, window: Window, gw: Array) -> None:
    """gW = gyᵀ x: pixels in fixed runs whose sums are added in order; few pixels by channels."""
    (_, h, w, oc), c = gy.shape, x.shape[3]
    rows, grads = x[:, :h, :w].reshape(-1, c), gy.reshape(-1, oc)  # (pixels, channels)
    total = gw.reshape(oc, c)
    if len(rows) <= 3 * 1024:
        threads.parallel_for(
            lambda part: np.matmul(grads[:, part].T, rows, out=total[part]),
            threads.split(oc, -(-oc // SHARES)),
        )
        return
    runs = threads.split(len(rows), even(len(rows), max(2048, len(rows) // 8)))
    partial = threads.parallel_for(lambda run: grads[run].T @ rows[run], runs)
    np.sum(partial, axis=0, out=total)


def _product(x: Array, matrix: Array, finish: Finish, out: Array) -> None:
    """out = finish(x · matrix), in blocks of image rows, columns of the matrix, or both."""
    whole = out if out.flags.c_contiguous else np.empty(out.shape, out.dtype)
    (n, h, w, k), channels = x.shape, matrix.shape[1]
    lines, target = x.reshape(n * h, w, k), whole.reshape(n * h, w, channels)
    few = n * h * w <= 3 * 256
    strip = FEW_COLUMNS if few else 4 * FEW_COLUMNS  # what finishes them is slow on short rows
    if channels > strip and (few or reads_in_place(k)):
        pieces = threads.split(n * h, PIECE // (k * w))
        longest = strip if reads_in_place(k) else channels
        columns = threads.split(channels, even(channels, longest))
    else:
        matrix = np.ascontiguousarray(matrix) if reads_in_place(k) else matrix
        pixels = max(256, BLOCK // max(k, channels))
        pieces = threads.split(n * h, even(n * h, pixels // w))
        columns = [slice(0, channels)]

    def task(place: tuple[slice, slice]) -> None:
        piece, column = place
        block = target[piece, :, column]
        pixels = block.reshape(-1, block.shape[2])  # a view
        tall_product(lines[piece].reshape(-1, k), matrix[:, column], out=pixels)
        finish(block, column)

    threads.parallel_for(task, list(itertools.product(pieces, columns)))
    if whole is not out:
        out[...] = whole
