"""6. Transposed convolution

FCN's way to upsample. Every pixel of x stamps the kernel, times its value,
onto the result, stamps of neighbours a stride apart; where they overlap they
add up. Then padding rows and columns are cut off on every side.

    x        (N, C, H, W), float64
    weight   (C, OC, KH, KW): mind the order
    stride, padding  numbers, the same down and across
    returns  y (N, OC, OH, OW), float64,
             with OH = (H - 1) * stride + KH - 2 * padding, and OW likewise

Example, stride 2, padding 0:

x (1, 1, 2, 2)   weight (1, 1, 3, 3)   y (1, 1, 5, 5)
8 6              1 0 0                  8  0  6  0  0
5 2              0 0 3                  0  0 24  0 18
                 2 3 2                 21 24 30 18 12
                                        0  0 15  0  6
                                       10 15 14  6  4

Graded: the shape, and every number to 1e-9 of the largest, for several images
and channels, kernels that are not square or smaller than the stride, padding.
Only NumPy may be used.

Lesson: tinyfcn lessons 5
"""

import numpy as np


def conv_transpose2d(x, weight, stride, padding):
    pass  # your code
