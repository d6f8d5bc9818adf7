"""2. Convolution

Each output pixel is a window times a kernel, summed up, plus the bias:

    y[n, oc, oh, ow] = bias[oc] + sum over c, kh, kw of
                       weight[oc, c, kh, kw] * x[n, c, h, w]
    with h = oh * stride - padding + kh, w = ow * stride - padding + kw

where x is 0 outside of the image. (The kernel is not turned round, as in all
networks.)

    x        (N, C, H, W), float64
    weight   (OC, C, KH, KW)
    bias     (OC,)
    stride, padding  numbers, the same down and across
    returns  y (N, OC, OH, OW), float64,
             with OH = (H + 2 * padding - KH) // stride + 1, and OW likewise

Example, stride 1, padding 0:

x (1, 1, 3, 3)   weight (1, 1, 2, 2)   bias (1,)   y (1, 1, 2, 2)
8 6 5            3 2                   6           54 43
2 3 0            3 2                               18 17
0 0 1

Graded: the shape, and every number to 1e-9 of the largest, for several images
and channels, windows that are not square, strides above 1, padding. Only NumPy
may be used.

Lesson: tinyfcn lessons 3
"""

import numpy as np


def conv2d(x, weight, bias, stride, padding):
    pass  # your code
