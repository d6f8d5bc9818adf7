"""7. Bilinear weights

A transposed convolution with these weights interpolates, and so the upsampling
of an FCN begins. The kernel is the product of two triangles, one down and one
across,

    weight[i, j] = t(i) * t(j),   t(i) = 1 - abs(i - centre) / f

with the middle of 0 ... size - 1 as centre, and f = (size + 1) // 2, the factor
of upsampling.

    size     a number of at least 1
    returns  weight (size, size), float64

Example, size 4:

weight (4, 4)
0.0625 0.1875 0.1875 0.0625
0.1875 0.5625 0.5625 0.1875
0.1875 0.5625 0.5625 0.1875
0.0625 0.1875 0.1875 0.0625

Graded: every number, for odd and even sizes, also 1. Only NumPy may be used.

Lesson: tinyfcn lessons 11
"""

import numpy as np


def bilinear(size):
    pass  # your code
