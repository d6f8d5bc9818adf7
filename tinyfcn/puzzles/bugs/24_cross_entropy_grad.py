"""24. The gradient of cross-entropy

The gradient by the scores of puzzle 8: void pixels, of label 255, count
neither in the loss nor here. This code is right where nothing is void. Where
something is, it teaches a network to call it class 0. Mend it.

    scores   (N, C, H, W), float64
    target   (N, H, W), integers from 0 to C - 1, or 255
    returns  gscores (N, C, H, W), float64

Example:

scores[0, 0]   scores[0, 1]   scores[0, 2]   target (1, 1, 3)
2 1 1          0 0 0          0 0 0            2   1 255

gscores[0, 0]          gscores[0, 1]             gscores[0, 2]
0.3935 0.2881      0   0.05325  -0.394       0   -0.4467   0.106       0

Graded: every number to 1e-9 of the largest, without void, with some, with
nothing else. Only NumPy may be used.

Lesson: tinyfcn lessons 12
"""

import numpy as np


def cross_entropy_grad(scores, target):
    counts = target != 255
    number = max(1, counts.sum())
    label = np.where(counts, target, 0)[:, None]
    exps = np.exp(scores - scores.max(1, keepdims=True))
    gscores = exps / exps.sum(1, keepdims=True)
    chosen = np.take_along_axis(gscores, label, 1)
    np.put_along_axis(gscores, label, chosen - 1, 1)
    return gscores / number
