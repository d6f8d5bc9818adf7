# The middle of 0 and size - 1 is no whole number if size is even. t is a vector;
# which product of two vectors is a matrix?
#
# t = 1 - abs(np.arange(size) - (size - 1) / 2) / f, and the kernel is its outer
# product with itself, np.outer(t, t).

import numpy as np


def bilinear(size):
    f = (size + 1) // 2
    triangle = 1 - np.abs(np.arange(size) - (size - 1) / 2) / f
    return np.outer(triangle, triangle)
