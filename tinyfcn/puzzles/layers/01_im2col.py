"""1. Every window of an image as a column

Convolution looks at windows of KH x KW pixels, each a stride further. Written
out as the columns of a matrix, they make convolution one matrix product.

    x        (N, C, H, W), float64
    kernel   (KH, KW)
    stride   the same down and across
    padding  rows and columns of zeros on every side
    returns  columns (N, C * KH * KW, OH * OW), float64,
             with OH = (H + 2 * padding - KH) // stride + 1, and OW likewise

Column oh * OW + ow is the window of output pixel (oh, ow), and row (c * KH +
kh) * KW + kw its element (c, kh, kw).

Example, kernel (2, 2), stride 1, padding 0:

x (1, 1, 3, 3)   columns (1, 4, 4)
8 6 5            8 6 2 3
2 3 0            6 5 3 0
0 0 1            2 3 0 0
                 3 0 0 1

Graded: the shape, and every number to 1e-9 of the largest, for several images
and channels, windows that are not square, strides above 1, padding. Only NumPy
may be used.

Lesson: tinyfcn lessons 3
"""

import numpy as np


def im2col(x, kernel, stride, padding):
    pass  # your code
