# The middle of 0 ... size - 1 is (size - 1) / 2. What is f - 1 for odd sizes?
# Do you need two cases?
#
# For odd sizes f - 1 = (size + 1) / 2 - 1 = (size - 1) / 2: one formula does.
# t is a vector over np.arange(size), and the kernel its outer product with
# itself.

import numpy as np


def bilinear(size):
    f = (size + 1) // 2
    triangle = 1 - np.abs(np.arange(size) - (size - 1) / 2) / f
    return np.outer(triangle, triangle)
