"""23. Average pooling by running sums

The mean of every k x k window, with stride 1. Instead of k * k additions a
window takes four: s[h, w] is the sum of all pixels above row h and left of
column w, and the sum of a window follows from s at its four corners.

    x        (N, C, H, W), float64
    k        a number, at most H and W
    returns  y (N, C, H - k + 1, W - k + 1), float64

The code below is off by one somewhere. Mend it.

Example, k 2:

x (1, 1, 3, 3)   y (1, 1, 2, 2)
8 6 5            4.75  3.5
2 3 0            1.25    1
0 0 1

Graded: every number to 1e-9 of the largest, for several sizes. Only NumPy may
be used.
"""

import numpy as np


def box_mean(x, k):
    n, c, h, w = x.shape
    s = np.zeros((n, c, h + 1, w + 1))
    s[:, :, :-1, :-1] = x.cumsum(2).cumsum(3)
    top, bottom = s[:, :, :-k], s[:, :, k:]
    windows = bottom[..., k:] - bottom[..., :-k] - top[..., k:] + top[..., :-k]
    return windows / k**2
