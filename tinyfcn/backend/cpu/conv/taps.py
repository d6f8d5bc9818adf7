"""Kernel element by kernel element, for small maps with large weights.

y = Σ over kernel elements of x · W[:, kh, kw], each product where that element lies, and likewise
the gradients. The weights are read once, as they lie in memory, and nothing is multiplied with the
padding: fc6 has 400 MB of weights and, for an image of 256 × 256, 64 pixels, in whose windows 38 %
of the elements lie outside the map.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinyfcn.backend.cpu import threads
from tinyfcn.backend.cpu.conv.window import Finish, Pair, Slices, Window, each_tap
from tinyfcn.backend.cpu.layout import Array


def applies(kernel: Pair, window: Window) -> bool:
    """Always."""
    return True


def forward(x: Array, weight: Array, finish: Finish, window: Window, y: Array) -> None:
    """y = finish(conv(x, weight)); the threads share out the channels OC."""
    *shape, oc = y.shape

    def task(channels: slice) -> None:
        block = np.zeros((*shape, channels.stop - channels.start), y.dtype)
        for i, j, inputs, outputs in _taps(x, weight, window, y):
            met = block[outputs]
            met += _product(x[inputs], weight[channels, i, j].T, met)
        finish(block, channels)
        y[..., channels] = block

    threads.parallel_for(task, _shares(oc))


def input_grad(gy: Array, weight: Array, window: Window, gx: Array) -> None:
    """gx = the adjoint of forward in x; the threads share out the channels C."""

    def task(channels: slice) -> None:
        target = gx[..., channels]
        target[...] = 0
        for i, j, inputs, outputs in _taps(gx, weight, window, gy):
            met = target[inputs]
            met += _product(gy[outputs], weight[:, i, j, channels], met)

    threads.parallel_for(task, _shares(gx.shape[3]))


def weight_grad(x: Array, gy: Array, window: Window, gw: Array) -> None:
    """gw = the adjoint of forward in weight; the threads share out the channels OC."""
    oc, _, _, c = gw.shape

    def task(channels: slice) -> None:
        for i, j, inputs, outputs in _taps(x, gw, window, gy):
            grads = gy[outputs][..., channels].reshape(-1, channels.stop - channels.start)
            np.matmul(grads.T, x[inputs].reshape(-1, c), out=gw[channels, i, j])

    threads.parallel_for(task, _shares(oc))


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


def _shares(channels: int) -> list[slice]:
    return threads.split(channels, max(32, -(-channels // 4)))
