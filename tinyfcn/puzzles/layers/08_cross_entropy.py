"""8. Cross-entropy with void, and its gradient

With p = softmax of a pixel's scores over its C classes, the loss of a pixel is
-log p[its class]. Pixels with the label 255 are void: they count neither in
the loss nor in its gradient. The loss is the mean over all other pixels; if
there are none it is 0, and so is its gradient.

    scores   (N, C, H, W), float64, of values up to thousands: exp overflows
    target   (N, H, W), integers from 0 to C - 1, or 255
    returns  loss, a number, and gscores, its gradient by the scores

Example:

scores[0, 0]   scores[0, 1]   scores[0, 2]   target (1, 1, 3)   loss ()
2 1 1          0 0 0          0 0 0            2   1 255        1.895

gscores[0, 0]          gscores[0, 1]             gscores[0, 2]
0.3935 0.2881      0   0.05325  -0.394       0   -0.4467   0.106       0

Graded: both results to 1e-9 of the largest number, for several images, many
classes, large scores, void pixels, nothing but void. Only NumPy may be used.

Lesson: tinyfcn lessons 12
"""

import numpy as np


def cross_entropy(scores, target):
    pass  # your code
