"""Kernel element by kernel element, for small maps with large weights or wide padding.

y = Σ over kernel elements of x · W[:, kh, kw], each product where that element lies, and likewise
the gradients. The weights are read once, as they lie in memory, and nothing is multiplied with the
padding: fc6 has 400 MB of weights and, for an image of 256 × 256, 64 pixels, in whose windows 38 %
of the elements lie outside the map. So do up to 60 % under DeepLab's dilations.

Forward, some tens of pixels go with the padding all the same: OpenBLAS multiplies rows of W by up
to 64 columns without copying them (``products.py``), at twice the rate of the product with Wᵀ.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from tinyfcn.backend.cpu import threads
from tinyfcn.backend.cpu.conv import products
from tinyfcn.backend.cpu.conv.columns import Tiles
from tinyfcn.backend.cpu.conv.window import SHARES, Finish, Pair, Slices, Window, each_tap, even
from tinyfcn.backend.cpu.layout import Array
from tinyfcn.backend.cpu.threads import Place

FEW_PIXELS = 2  # for an output channel: up to here, the weights are more than the image
LARGE = 1 << 18  # weights of a kernel element; with fewer, threads wait for the interpreter


def applies(kernel: Pair, window: Window) -> bool:
    """Always."""
    return True


def few(pixels: int) -> bool:
    """Whether an output has few pixels, but some, and BLAS gains by that."""
    return products.IN_PLACE and 0 < pixels <= products.FEW_COLUMNS


def forward(x: Array, weight: Array, finish: Finish, window: Window, y: Array) -> None:
    """y = finish(conv(x, weight)); the threads share out the channels OC, or the rows of y."""
    (n, oh, ow, oc), (h, w), kernel = y.shape, x.shape[1:3], weight.shape[1:3]
    pixels = n * oh * ow
    if few(pixels):
        _few_pixels(x, weight, finish, window, y)
        return
    by_rows = pixels > FEW_PIXELS * oc

    def task(share: tuple[Place, slice]) -> None:
        (images, rows), channels = share
        block = np.zeros(y[images, rows, :, channels].shape, y.dtype)
        for tap, outputs, inputs in each_tap(slice(0, h), w, rows, ow, kernel, window):
            met, (i, j) = block[outputs], divmod(tap, kernel[1])
            met += _product(x[images][inputs], weight[channels, i, j].T, met)
        finish(block, channels)
        y[images, rows, :, channels] = block

    places = threads.places(n, oh, even(n * oh, n * oh) if by_rows else n * oh)
    shares = [slice(0, oc)] if by_rows else _parts(oc, oc * weight.shape[3])
    threads.parallel_for(task, list(itertools.product(places, shares)))


def _few_pixels(x: Array, weight: Array, finish: Finish, window: Window, y: Array) -> None:
    """The same for some tens of pixels, in whole windows: yᵀ = W · windowsᵀ."""
    (n, oh, ow, oc), kernel = y.shape, weight.shape[1:3]
    (rows,) = Tiles(x, (n, oh, ow), kernel, window).columns((slice(0, n), slice(0, oh)))
    kernels = weight.reshape(oc, -1)
    columns = np.empty(rows.shape[::-1], x.dtype)  # (KH · KW · C, pixels)
    length = products.SMALL // (products.STEP * n * oh * ow)
    parts = threads.split(len(columns), length)

    def task(channels: slice) -> None:
        block = np.zeros((channels.stop - channels.start, columns.shape[1]), y.dtype)
        product = np.empty_like(block)
        for part in parts:
            products.tall_product(kernels[channels, part], columns[part], out=product)
            block += product
        pixels = block.T.copy().reshape(n, oh, ow, -1)
        finish(pixels, channels)
        y[..., channels] = pixels

    threads.parallel_for(lambda part: np.copyto(columns[part], rows[:, part].T), parts)
    threads.parallel_for(task, _parts(oc, oc * weight.shape[3]))


def input_grad(gy: Array, weight: Array, window: Window, gx: Array) -> None:
    """gx = the adjoint of forward in x; the threads share out the more of the channels."""
    summed = gy.shape[3] > gx.shape[3]

    def task(share: tuple[slice, slice]) -> Array:
        outs, ins = share
        part = np.zeros(gx[..., ins].shape, gx.dtype)
        for i, j, inputs, outputs in _taps(gx, weight, window, gy):
            met = part[inputs]
            met += _product(gy[outputs][..., outs], weight[outs, i, j, ins], met)
        if not summed:
            gx[..., ins] = part
        return part

    parts = threads.parallel_for(task, _shares(weight))
    if summed:
        np.sum(parts, 0, out=gx)


def weight_grad(x: Array, gy: Array, window: Window, gw: Array) -> None:
    """gw = the adjoint of forward in weight; the threads share out the more of the channels."""

    def task(share: tuple[slice, slice]) -> None:
        outs, ins = share
        for i, j, inputs, outputs in _taps(x, gw, window, gy):
            target = gw[outs, i, j, ins]  # (OC, C)
            grads = gy[outputs][..., outs].reshape(-1, len(target))
            np.matmul(grads.T, x[inputs][..., ins].reshape(-1, target.shape[1]), out=target)

    threads.parallel_for(task, _shares(gw))


def _product(pixels: Array, matrix: Array, like: Array) -> Array:
    """Pixels (N, rows, columns, K) times a matrix (K, M), in the shape of ``like``."""
    return (pixels.reshape(-1, len(matrix)) @ matrix).reshape(like.shape)


def _taps(
    x: Array, weight: Array, window: Window, y: Array
) -> Iterator[tuple[int, int, Slices, Slices]]:
    """Each kernel element (kh, kw), and where in x and y the pixels lie that it joins."""
    (h, w), (oh, ow), kernel = x.shape[1:3], y.shape[1:3], weight.shape[1:3]
    for tap, outputs, inputs in each_tap(slice(0, h), w, slice(0, oh), ow, kernel, window):
        yield *divmod(tap, kernel[1]), inputs, outputs


def _shares(weight: Array) -> list[tuple[slice, slice]]:
    """Outputs and inputs: the more of them in parts, the others whole."""
    oc, _, _, c = weight.shape
    parts, whole = _parts(max(oc, c), oc * c), slice(None)
    return [(part, whole) for part in parts] if oc > c else [(whole, part) for part in parts]


def _parts(channels: int, products: int) -> list[slice]:
    """Channels for the threads: the shorter the products, the fewer of them."""
    return threads.split(channels, max(32, -(-channels // (SHARES if products >= LARGE else 2))))
