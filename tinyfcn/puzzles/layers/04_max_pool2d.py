"""4. Max pooling, and where the maxima were

The maximum of every window of kernel x kernel pixels, each a stride further,
and its index h * W + w in the plane of x. Of equal maxima the first counts:
from left to right, row by row. A window never reaches beyond the image.

    x        (N, C, H, W), float64
    kernel, stride  numbers, the same down and across
    returns  y (N, C, OH, OW), float64, and indices, integers of the same shape,
             with OH = (H - kernel) // stride + 1, and OW likewise

Example, kernel 2, stride 2:

x (1, 1, 4, 4)   y (1, 1, 2, 2)   indices (1, 1, 2, 2)
-5 -6 -7 -8      -5 -7             0  2
-8 -9 -9 -9      -5 -5             9 11
-9 -5 -6 -5
-7 -6 -5 -6

Graded: both results; several images and channels, windows that overlap or
leave pixels out, many ties, numbers that are all below zero. Only NumPy may be
used.

Lesson: tinyfcn lessons 6
"""

import numpy as np


def max_pool2d(x, kernel, stride):
    pass  # your code
