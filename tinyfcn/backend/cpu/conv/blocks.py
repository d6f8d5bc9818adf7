"""Kernels of several strides: cut into pieces of one stride each.

A kernel of 2s × 2s that moves by s reads every pixel four times, so the columns of ``tiles.py`` are
four times the image; the gradient of upsampling by 8 is such a convolution. Cut into pieces of
s × s, the kernel becomes four kernels that read every pixel once, all at the same places:

    z[i, j, t, u] = piece (t, u) at block (i, j),    y[i, j] = Σ over t, u of z[i + t, j + u, t, u].

It pays where z is much smaller than x.
"""

from __future__ import annotations

import math

import numpy as np

from tinyfcn.backend.cpu import threads
from tinyfcn.backend.cpu.conv import tiles
from tinyfcn.backend.cpu.conv.window import Finish, Pair, Window
from tinyfcn.backend.cpu.layout import Array

input_grad = tiles.input_grad


def applies(kernel: Pair, window: Window) -> bool:
    """The stride divides the kernel, and there is no dilation."""
    divides = all(k % s == 0 for k, s in zip(kernel, window.stride, strict=True))
    return divides and window.dilation == (1, 1)


def pays(kernel: Pair, inputs: int, outputs: int, stride: Pair) -> bool:
    """Whether there are several pieces, and z has at most a quarter of the elements of x."""
    block = math.prod(stride)
    pieces = math.prod(kernel) // block
    return pieces > 1 and 4 * pieces * outputs <= block * inputs


def forward(x: Array, weight: Array, finish: Finish, window: Window, y: Array) -> None:
    """y = finish(Σ over pieces of their convolutions, shifted)."""
    n, oh, ow, oc = y.shape
    pieces = _pieces(weight, window.stride)  # (T, U, OC, SH, SW, C)
    t, u = pieces.shape[:2]
    z = np.empty((n, oh + t - 1, ow + u - 1, t, u, oc), y.dtype)
    kernels = pieces.reshape(-1, *pieces.shape[3:])
    tiles.forward(x, kernels, Finish(), window, z.reshape(*z.shape[:3], len(kernels)))

    def task(place: threads.Place) -> None:
        images, rows = place
        block = y[place]
        for a, b in np.ndindex(t, u):
            part = z[images, rows.start + a : rows.stop + a, b : b + ow, a, b]
            if (a, b) == (0, 0):
                block[...] = part
            else:
                block += part
        finish(block)

    threads.parallel_for(task, threads.places(n, oh, 32))


def weight_grad(x: Array, gy: Array, window: Window, gw: Array) -> None:
    """The weight gradient of the pieces, each from gy shifted its way."""
    n, oh, ow, oc = gy.shape
    pieces = _pieces(gw, window.stride)
    t, u = pieces.shape[:2]
    gz = np.zeros((n, oh + t - 1, ow + u - 1, t, u, oc), gy.dtype)
    for a, b in np.ndindex(t, u):
        gz[:, a : a + oh, b : b + ow, a, b] = gy
    grads = np.empty(pieces.shape, gw.dtype)
    kernels = grads.reshape(-1, *pieces.shape[3:])
    tiles.weight_grad(x, gz.reshape(*gz.shape[:3], len(kernels)), window, kernels)
    pieces[...] = grads


def _pieces(weight: Array, stride: Pair) -> Array:
    """(OC, KH, KW, C) → (T, U, OC, SH, SW, C), a view."""
    oc, kh, kw, c = weight.shape
    sh, sw = stride
    return weight.reshape(oc, kh // sh, sh, kw // sw, sw, c).transpose(1, 3, 0, 2, 4, 5)
