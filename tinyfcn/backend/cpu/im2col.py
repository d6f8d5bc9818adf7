"""im2col and col2im over the whole image: convolution in its plainest form.

im2col lays the window behind every output pixel out as one row of a matrix; convolution is then one
matrix product with the kernels, and its gradients are two more. The matrix is KH · KW times as
large as the image, so the backend in ``conv.py`` builds it tile by tile and never keeps it; the
functions here are the short version to read first, and what the tests hold the fast ones against.
"""

from __future__ import annotations

import numpy as np

from tinyfcn.backend.cpu.layout import Array, channels_last, logical

Pair = tuple[int, int]


def im2col(x: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Array:
    """(N, C, H, W) → (N, OH, OW, KH, KW, C): for each output pixel the window it sees.

    Example:
        >>> x = np.arange(4.0).reshape(1, 1, 2, 2)
        >>> im2col(x, (2, 2), (1, 1), (0, 0), (1, 1)).ravel()
        array([0., 1., 2., 3.])
    """
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = kernel, stride, padding, dilation
    padded = np.pad(channels_last(x), ((0, 0), (ph, ph), (pw, pw), (0, 0)))
    span = dh * (kh - 1) + 1, dw * (kw - 1) + 1
    windows = np.lib.stride_tricks.sliding_window_view(padded, span, axis=(1, 2))
    # (N, OH, OW, C, KH, KW)
    windows = windows[:, ::sh, ::sw, :, ::dh, ::dw]
    return windows.transpose(0, 1, 2, 4, 5, 3)


def col2im(columns: Array, size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Array:
    """Adjoint of im2col: (N, OH, OW, KH, KW, C) → (N, C, H, W), overlapping windows summed."""
    n, oh, ow, kh, kw, c = columns.shape
    (h, w), (sh, sw), (ph, pw), (dh, dw) = size, stride, padding, dilation
    padded = np.zeros((n, h + 2 * ph, w + 2 * pw, c), columns.dtype)
    for i in range(kh):
        for j in range(kw):
            rows = slice(i * dh, i * dh + sh * (oh - 1) + 1, sh)
            cols = slice(j * dw, j * dw + sw * (ow - 1) + 1, sw)
            padded[:, rows, cols] += columns[:, :, :, i, j]
    return logical(padded[:, ph : ph + h, pw : pw + w])


def conv2d(x, weight, bias, stride, padding, dilation, groups):
    """Whole-image reference of ``Backend.conv2d``."""
    outputs = []
    for xg, wg in _groups(x, weight, groups):
        columns = im2col(xg, wg.shape[2:], stride, padding, dilation)
        n, oh, ow = columns.shape[:3]
        rows = columns.reshape(n * oh * ow, -1)  # (N·OH·OW, KH·KW·C/G)
        kernels = channels_last(wg).reshape(len(wg), -1)  # (OC/G, KH·KW·C/G)
        outputs.append((rows @ kernels.T).reshape(n, oh, ow, -1))
    y = np.concatenate(outputs, axis=3)
    return logical(y if bias is None else y + bias)


def conv2d_input_grad(gy, weight, bias, size, stride, padding, dilation, groups):
    """Whole-image reference of ``Backend.conv2d_input_grad``."""
    kh, kw = weight.shape[2:]
    outputs = []
    for gyg, wg in zip(np.split(gy, groups, 1), np.split(weight, groups), strict=True):
        n, oc, oh, ow = gyg.shape
        rows = channels_last(gyg).reshape(-1, oc)  # (N·OH·OW, OC/G)
        kernels = channels_last(wg).reshape(oc, -1)  # (OC/G, KH·KW·C/G)
        columns = (rows @ kernels).reshape(n, oh, ow, kh, kw, -1)
        outputs.append(col2im(columns, size, stride, padding, dilation))
    gx = np.concatenate(outputs, axis=1)
    return gx if bias is None else gx + bias[:, None, None]


def conv2d_weight_grad(x, gy, kernel, stride, padding, dilation, groups):
    """Whole-image reference of ``Backend.conv2d_weight_grad``."""
    outputs = []
    for xg, gyg in zip(np.split(x, groups, 1), np.split(gy, groups, 1), strict=True):
        columns = im2col(xg, kernel, stride, padding, dilation)
        n, oh, ow = columns.shape[:3]
        oc, c = gyg.shape[1], xg.shape[1]
        rows = columns.reshape(n * oh * ow, -1)  # (N·OH·OW, KH·KW·C/G)
        gw = channels_last(gyg).reshape(-1, oc).T @ rows  # (OC/G, KH·KW·C/G)
        outputs.append(logical(gw.reshape(oc, *kernel, c)))
    return np.concatenate(outputs, axis=0)


def _groups(x, weight, groups):
    return zip(np.split(x, groups, axis=1), np.split(weight, groups), strict=True)
