# Do not go through the windows: go through the KH * KW elements of a window.
# Element (kh, kw) of all windows at once is a part of the padded image, taken
# with a step.
#
# Pad with np.pad. For each kh, kw the part is padded[:, :, kh : kh + stride *
# OH : stride, kw : kw + stride * OW : stride], which is (N, C, OH, OW). Put it
# into an array (N, C, KH, KW, OH, OW) at [:, :, kh, kw], and reshape that in
# the end.

import numpy as np


def im2col(x, kernel, stride, padding):
    n, c, h, w = x.shape
    kh, kw = kernel
    oh = (h + 2 * padding - kh) // stride + 1
    ow = (w + 2 * padding - kw) // stride + 1
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    columns = np.empty((n, c, kh, kw, oh, ow))
    for i in range(kh):
        for j in range(kw):
            rows = slice(i, i + stride * oh, stride)
            cols = slice(j, j + stride * ow, stride)
            columns[:, :, i, j] = padded[:, :, rows, cols]
    return columns.reshape(n, c * kh * kw, oh * ow)
