"""25. The input gradient of convolution

The gx of puzzle 3. Without padding it is right. With padding it looks right,
but moved. Mend it.

    gy       (N, OC, OH, OW), float64
    weight   (OC, C, KH, KW)
    stride, padding  numbers, the same down and across
    size     (H, W) of the input
    returns  gx (N, C, H, W), float64

Example, stride 1, padding 1, size (2, 2):

gy (1, 1, 2, 2)   weight (1, 1, 3, 3)   gx (1, 1, 2, 2)
3 2               1 0 0                  2  9
2 2               0 0 3                 13 18
                  2 3 2

Graded: every number to 1e-9 of the largest, for several sizes, strides and
paddings. Only NumPy may be used.

Lesson: tinyfcn lessons 4
"""

import numpy as np


def conv2d_input_grad(gy, weight, stride, padding, size):
    n, oc, oh, ow = gy.shape
    _, c, kh, kw = weight.shape
    h, w = size
    gx = np.zeros((n, c, h + 2 * padding, w + 2 * padding))
    for i in range(kh):
        for j in range(kw):
            rows = slice(i, i + stride * oh, stride)
            cols = slice(j, j + stride * ow, stride)
            tap = weight[:, :, i, j]
            gx[:, :, rows, cols] += np.einsum("nohw,oc->nchw", gy, tap)
    return gx[:, :, :h, :w]
