"""5. Values back to where max pooling found them

SegNet's way to upsample: each value goes to the place its index names, and
everything else is 0. Where windows do not overlap, this is the gradient of max
pooling, too.

    y        (N, C, OH, OW), float64
    indices  integers of the same shape: h * W + w in the plane of the result,
             as in puzzle 4; no index comes twice in a plane
    size     (H, W) of the result
    returns  x (N, C, H, W), float64

Example, size (4, 4):

y (1, 1, 2, 2)   indices (1, 1, 2, 2)   x (1, 1, 4, 4)
 7  6             0  2                   7  0  6  0
 6 10             9 11                   0  0  0  0
                                         0  6  0 10
                                         0  0  0  0

Graded: every number, for several images and channels, and sizes that are no
multiple of the windows. Only NumPy may be used.

Lesson: tinyfcn lessons 6
"""

import numpy as np


def max_unpool2d(y, indices, size):
    pass  # your code
