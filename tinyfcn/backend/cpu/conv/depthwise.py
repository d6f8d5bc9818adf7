"""Depthwise convolution: each channel by itself, so there is no matrix product to be had.

y = Σ over kernel elements of W[kh, kw] ⊙ (the image, shifted): as many multiplications and
additions of whole images as the kernel has elements. NumPy has no multiply-add, so each costs two
passes over a block in the cache; that, and not arithmetic, is what limits this file.
"""

from __future__ import annotations

import numpy as np

from tinyfcn.backend.cpu import threads
from tinyfcn.backend.cpu.conv.window import Finish, Pair, Scratch, Window, region
from tinyfcn.backend.cpu.layout import Array

BLOCK = 1 << 17  # elements of a block and of its product: both stay in the cache
LARGEST_KERNEL = 25  # elements; larger ones go to the block-diagonal products of groups.py


def applies(kernel: Pair, inputs: int, outputs: int, window: Window) -> bool:
    """One channel in and out of each group, stride 1, a small kernel."""
    small = kernel[0] * kernel[1] <= LARGEST_KERNEL
    return inputs == outputs == 1 and small and window.stride == (1, 1)


def forward(x: Array, weight: Array, finish: Finish, window: Window, y: Array) -> None:
    """y = finish(Σ W[kh, kw] ⊙ shifted x); weight (C, KH, KW, 1)."""
    _correlate(x, weight[..., 0], finish, (-window.padding[0], -window.padding[1]), window, y)


def input_grad(gy: Array, weight: Array, window: Window, gx: Array) -> None:
    """The same with kernels turned by 180°."""
    _, kh, kw, _ = weight.shape
    top, left = (
        p - d * (k - 1) for p, d, k in zip(window.padding, window.dilation, (kh, kw), strict=True)
    )
    _correlate(gy, weight[:, ::-1, ::-1, 0], Finish(), (top, left), window, gx)


def weight_grad(x: Array, gy: Array, window: Window, gw: Array) -> None:
    """gw[:, kh, kw] = Σ over pixels of gy ⊙ shifted x, in fixed blocks added in order."""
    c, kh, kw, _ = gw.shape
    blocks = _blocks(gy)
    partial = np.empty((len(blocks), kh, kw, c), gw.dtype)
    scratch = Scratch()

    def task(i: int) -> None:
        image, rows = blocks[i]
        grads = gy[image, rows]
        origin = (-window.padding[0], -window.padding[1])
        shifted = _shifts(x, image, rows, grads.shape[1], (kh, kw), origin, window, scratch)
        product = scratch.get("product", grads.shape, gw.dtype)
        ones = np.ones(product.shape[0] * product.shape[1], gw.dtype)
        for (a, b), view in shifted:
            np.multiply(view, grads, out=product)
            partial[i, a, b] = ones @ product.reshape(-1, c)

    threads.parallel_for(task, len(blocks))
    gw[..., 0] = partial.sum(axis=0).transpose(2, 0, 1)


def _correlate(
    x: Array, kernels: Array, finish: Finish, origin: Pair, window: Window, y: Array
) -> None:
    """y[n, i, j] = Σ over k, l of W[:, k, l] · x[n, origin + (i, j) + (k, l)·dilation]."""
    c, kh, kw = kernels.shape
    blocks = _blocks(y)
    scratch = Scratch()
    # Each kernel element as long as a row of y: a short inner loop would cost more than its work.
    taps = np.tile(kernels.transpose(1, 2, 0), (1, 1, y.shape[2])).reshape(kh, kw, -1, c)

    def task(i: int) -> None:
        image, rows = blocks[i]
        out = y[image, rows]
        shifted = _shifts(x, image, rows, out.shape[1], (kh, kw), origin, window, scratch)
        product = scratch.get("product", out.shape, y.dtype)
        for (a, b), view in shifted:
            if (a, b) == (0, 0):
                np.multiply(view, taps[a, b], out=out)
            else:
                np.multiply(view, taps[a, b], out=product)
                out += product
        finish(out)

    threads.parallel_for(task, len(blocks))


def _blocks(y: Array) -> list[tuple[int, slice]]:
    """(image, rows) in blocks of about BLOCK elements."""
    n, h, w, c = y.shape
    bands = threads.blocks(h, max(1, BLOCK // (w * c)))
    return [(image, rows) for image in range(n) for rows in bands]


def _shifts(
    x: Array, image: int, rows: slice, width: int, kernel: Pair, origin: Pair, window: Window,
    scratch: Scratch,
) -> list[tuple[Pair, Array]]:  # fmt: skip
    """For each kernel element the part of x, (rows, width, C), that it meets; zero outside x."""
    (kh, kw), (dh, dw), height = kernel, window.dilation, rows.stop - rows.start
    top, span = origin[0] + rows.start, (height + dh * (kh - 1), width + dw * (kw - 1))
    block = region(x, slice(image, image + 1), top, origin[1], *span, scratch)[0]
    return [
        ((a, b), block[a * dh : a * dh + height, b * dw : b * dw + width])
        for a in range(kh)
        for b in range(kw)
    ]
