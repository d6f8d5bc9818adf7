"""im2col and col2im over the whole image: convolution in its plainest form.

im2col lays the window behind every output pixel out as one row of a matrix; convolution is then one
matrix product with the kernels, and its gradients are two more. The matrix is KH · KW times as
large as the image, which is why ``tiles.py`` builds it a tile at a time and why nothing keeps it.
Read this version first; the tests hold the others against it.
"""

from __future__ import annotations

import numpy as np

from tinyfcn.backend.base import conv_sizes
from tinyfcn.backend.cpu.conv.window import Finish, Pair, Window, windows
from tinyfcn.backend.cpu.layout import Array


def applies(kernel: Pair, window: Window) -> bool:
    """Always."""
    return True


def forward(x: Array, weight: Array, finish: Finish, window: Window, y: Array) -> None:
    """y = columns · Wᵀ, and what finishes it."""
    columns = im2col(x, weight.shape[1:3], window)
    rows = columns.reshape(-1, weight[0].size)  # (N·OH·OW, KH·KW·C)
    kernels = weight.reshape(len(weight), -1)  # (OC, KH·KW·C)
    y[...] = (rows @ kernels.T).reshape(y.shape)
    finish(y)


def input_grad(gy: Array, weight: Array, window: Window, gx: Array) -> None:
    """gx = col2im(gy · W)."""
    rows = gy.reshape(-1, len(weight))  # (N·OH·OW, OC)
    kernels = weight.reshape(len(weight), -1)  # (OC, KH·KW·C)
    columns = (rows @ kernels).reshape(*gy.shape[:3], *weight.shape[1:])
    gx[...] = col2im(columns, gx.shape[1:3], window)


def weight_grad(x: Array, gy: Array, window: Window, gw: Array) -> None:
    """gW = gyᵀ · columns."""
    columns = im2col(x, gw.shape[1:3], window)
    # With an output_padding, x may have windows that gy does not have.
    columns = columns[:, : gy.shape[1], : gy.shape[2]].reshape(-1, gw[0].size)
    rows = gy.reshape(-1, len(gw))  # (N·OH·OW, OC)
    gw[...] = (rows.T @ columns).reshape(gw.shape)


def im2col(x: Array, kernel: Pair, window: Window) -> Array:
    """(N, H, W, C) → (N, OH, OW, KH, KW, C): for each output pixel the window it sees.

    Example:
        >>> x = np.arange(4.0).reshape(1, 2, 2, 1)
        >>> im2col(x, (2, 2), Window((1, 1), (0, 0), (1, 1))).ravel()
        array([0., 1., 2., 3.])
    """
    ph, pw = window.padding
    padded = np.pad(x, ((0, 0), (ph, ph), (pw, pw), (0, 0)))
    size = conv_sizes(x.shape[1:3], kernel, *window)
    return windows(padded, size, kernel, window.stride, window.dilation)


def col2im(columns: Array, size: Pair, window: Window) -> Array:
    """Adjoint of im2col: (N, OH, OW, KH, KW, C) → (N, H, W, C), overlapping windows summed."""
    n, oh, ow, kh, kw, c = columns.shape
    (h, w), ((sh, sw), (ph, pw), (dh, dw)) = size, window
    # The last window may end beyond the image, where an output_padding made room for it.
    height = max(h + 2 * ph, dh * (kh - 1) + sh * (oh - 1) + 1)
    width = max(w + 2 * pw, dw * (kw - 1) + sw * (ow - 1) + 1)
    padded = np.zeros((n, height, width, c), columns.dtype)
    for i in range(kh):
        for j in range(kw):
            rows = slice(i * dh, i * dh + sh * (oh - 1) + 1, sh)
            cols = slice(j * dw, j * dw + sw * (ow - 1) + 1, sw)
            padded[:, rows, cols] += columns[:, :, :, i, j]
    return padded[:, ph : ph + h, pw : pw + w]
