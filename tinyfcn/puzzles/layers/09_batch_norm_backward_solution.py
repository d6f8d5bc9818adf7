# gbias and gweight are sums over a channel: of gy, and of gy * xhat. gx is gy
# * weight / sqrt(var + eps), less two things: what the mean hands back, the
# same to all pixels, and what the variance hands back, in proportion to xhat.
# Check: gx of a channel sums to 0, and so does gx * xhat, nearly.
#
# gx = weight / sqrt(var + eps) * (gy - mean of gy - xhat * mean of (gy *
# xhat)), the means over the channel; they are gbias / m and gweight / m.

import numpy as np


def batch_norm_backward(gy, x, weight, eps):
    axes = (0, 2, 3)
    m = x.size // x.shape[1]
    scale = 1 / np.sqrt(x.var(axes, keepdims=True) + eps)
    xhat = (x - x.mean(axes, keepdims=True)) * scale
    gbias = gy.sum(axes)
    gweight = (gy * xhat).sum(axes)
    per_channel = (slice(None), None, None)
    inner = gy - gbias[per_channel] / m - xhat * gweight[per_channel] / m
    return weight[per_channel] * scale * inner, gweight, gbias
