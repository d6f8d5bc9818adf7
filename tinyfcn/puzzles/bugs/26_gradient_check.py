"""26. A check that accuses right gradients

The check compares a gradient with the slope (f(x + eps) - f(x - eps)) / (2
eps) and tells where they differ. For relu it says that the gradient at 0 is
wrong. It is not: relu has a kink there, with slope 0 on the left and 1 on the
right, and any number from 0 to 1 is a right gradient. Others, such as 1.5, are
wrong. Mend the check, not the gradient.

    f        a function from an array to one of its shape, element by element
    x        (M,), float64; may lie right on kinks
    gradient (M,), of f at x, right or wrong
    returns  wrong (M,), bool: where the gradient cannot be right

Example, f relu:

x (6,)              gradient (6,)
 0  1  0  0 -1 -2     0 2.5   0   0 1.5   0

wrong (6,)
False  True False False  True False

Graded: wrong, for relu, leaky relu, abs and tanh, for gradients that are
right, and for some with planted mistakes. Only NumPy may be used.

Lesson: tinyfcn lessons 13
"""

import numpy as np

EPS = 1e-6
ALLOWED = 1e-4


def wrong_places(f, x, gradient):
    slope = (f(x + EPS) - f(x - EPS)) / (2 * EPS)
    return np.abs(gradient - slope) > ALLOWED
