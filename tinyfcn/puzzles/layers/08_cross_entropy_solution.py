# softmax does not change if a constant is taken from all scores of a pixel:
# take the largest. And -log p can be had without a logarithm of 0. The
# gradient by the scores of one pixel is short: try it with two classes on
# paper.
#
# shifted = scores - max over classes; log p = shifted - log(sum of
# exp(shifted)). The gradient of a pixel is (p - 1 at its class) / (number of
# pixels that count), and 0 where it is void. Put class 0 in place of 255
# before you use target as an index, and mask what comes out.

import numpy as np


def cross_entropy(scores, target):
    counts = target != 255
    number = max(1, counts.sum())
    label = np.where(counts, target, 0)[:, None]
    shifted = scores - scores.max(1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    losses = -np.take_along_axis(log_p, label, 1)[:, 0]
    gscores = np.exp(log_p)
    chosen = np.take_along_axis(gscores, label, 1)
    np.put_along_axis(gscores, label, chosen - 1, 1)
    return (losses * counts).sum() / number, gscores * counts[:, None] / number
