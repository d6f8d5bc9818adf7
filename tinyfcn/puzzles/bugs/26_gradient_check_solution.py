# At a kink the slope on the left and the slope on the right differ. The one of
# the check is their mean. Which numbers should pass?
#
# left = (f(x) - f(x - EPS)) / EPS, right likewise; the gradient is wrong below
# the smaller of them or above the larger, by more than ALLOWED. Where f is
# smooth both are nearly the same.

import numpy as np

EPS = 1e-6
ALLOWED = 1e-4


def wrong_places(f, x, gradient):
    left = (f(x) - f(x - EPS)) / EPS
    right = (f(x + EPS) - f(x)) / EPS
    below = gradient < np.minimum(left, right) - ALLOWED
    return below | (gradient > np.maximum(left, right) + ALLOWED)
