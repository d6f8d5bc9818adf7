"""9. The gradients of batch normalization

While training, every channel is normalized by the mean and the variance of all
its m = N * H * W values (the variance divides by m):

    xhat = (x - mean) / sqrt(var + eps),   y = xhat * weight + bias

gy is the gradient of a loss by y. Mind that mean and var depend on x, too.

    gy, x    (N, C, H, W), float64
    weight   (C,)
    eps      a number
    returns  gx (N, C, H, W), gweight (C,), gbias (C,), all float64

Example, eps 0.5:

gy[0, 0]   gy[0, 1]   x[0, 0]   x[0, 1]   weight (2,)   gx[0, 0]
2 2        2 2        4 3       1 0       1 4           -0.108 -0.162
3 2        2 3        2 1       0 0                     0.5399  -0.27

gx[0, 1]          gweight (2,)      gbias (2,)
-0.8771  -1.316    -0.378 -0.3015   9 9
 -1.316   3.508

Graded: every number to 1e-9 of the largest, for several images and channels.
Only NumPy may be used.
"""

import numpy as np


def batch_norm_backward(gy, x, weight, eps):
    pass  # your code
