"""Depthwise convolution: each channel by itself, so there is no matrix product to be had.

y = Σ over kernel elements of W[kh, kw] ⊙ (the image, shifted): as many multiplications and
additions of whole images as the kernel has elements. ``np.einsum`` does all of them in one call,
without a product in between, in inner loops along rows of pixels × channels. That is three to four
times as fast as the block-diagonal matrices of ``groups.py``, whose zeros are multiplied too.
"""

from __future__ import annotations

import numpy as np

from tinyfcn.backend.cpu import threads
from tinyfcn.backend.cpu.conv.window import Finish, Pair, Scratch, Window, padded_windows
from tinyfcn.backend.cpu.layout import Array
from tinyfcn.backend.cpu.sums import RUN, sum_axis

BLOCK = 1 << 18  # elements of a block
LARGEST_KERNEL = 225  # elements, each repeated over a row; larger ones go to groups.py


def applies(kernel: Pair, window: Window) -> bool:
    """Stride 1, a small kernel."""
    return kernel[0] * kernel[1] <= LARGEST_KERNEL and window.stride == (1, 1)


def forward(x: Array, weight: Array, finish: Finish, window: Window, y: Array) -> None:
    """y = finish(Σ W[kh, kw] ⊙ shifted x); weight (C, KH, KW, 1)."""
    kernels, scratch = weight[..., 0].transpose(1, 2, 0), Scratch()
    # Each kernel element as long as a row of y: a short inner loop would cost more than its work.
    taps = np.tile(kernels, (1, 1, y.shape[2]))

    def task(block: tuple[int, slice]) -> None:
        out = y[block]
        shifted = _shifts(x, block, out.shape[1], weight.shape[1:3], window, scratch)
        np.einsum("klrx,klx->rx", shifted, taps, out=out.reshape(len(out), -1))
        finish(out)

    threads.parallel_for(task, _blocks(y))


def input_grad(gy: Array, weight: Array, window: Window, gx: Array) -> None:
    """The same with kernels turned by 180°."""
    forward(gy, weight[:, ::-1, ::-1], Finish(), window.turned(weight.shape[1:3]), gx)


def weight_grad(x: Array, gy: Array, window: Window, gw: Array) -> None:
    """gw[:, kh, kw] = Σ over pixels of gy ⊙ shifted x, in fixed blocks added in order."""
    c, kh, kw, _ = gw.shape
    scratch = Scratch()

    def task(block: tuple[int, slice]) -> Array:
        grads = gy[block]
        shifted = _shifts(x, block, grads.shape[1], (kh, kw), window, scratch)
        lines = grads.reshape(len(grads), -1)
        sums = scratch.get("sums", (kh, kw, lines.shape[1]), gw.dtype)
        np.einsum("klrx,rx->klx", shifted, lines, out=sums)
        return sum_axis(sums.reshape(kh, kw, -1, c), 2)[:, :, 0]

    total = sum(threads.parallel_for(task, _blocks(gy)), np.zeros((kh, kw, c)))  # float64
    gw[..., 0] = total.transpose(2, 0, 1)


def _blocks(y: Array) -> list[tuple[int, slice]]:
    """(image, rows) in blocks of about BLOCK elements."""
    n, h, w, c = y.shape
    bands = threads.split(h, min(RUN, BLOCK // (w * c)))
    return [(image, rows) for image in range(n) for rows in bands]


def _shifts(
    x: Array, block: tuple[int, slice], width: int, kernel: Pair, window: Window, scratch: Scratch
) -> Array:
    """(KH, KW, rows, width · C): what of x lies under each kernel element, zero outside; a view."""
    image, rows = block
    (windows,) = padded_windows(x, slice(image, image + 1), rows, width, kernel, window, scratch)
    return windows.transpose(2, 3, 0, 1, 4).reshape(*kernel, len(windows), -1)
