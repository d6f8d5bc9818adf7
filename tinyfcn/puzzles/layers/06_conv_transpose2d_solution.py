# Look at puzzle 3: you have written this before, under the name gx. What was
# gy there is x here.
#
# Make zeros ((H - 1) * stride + KH, (W - 1) * stride + KW). For each (kh, kw)
# add np.einsum("nchw,co->nohw", x, weight[:, :, kh, kw]) to the part [kh : kh
# + stride * H : stride, kw : kw + stride * W : stride]; cut the padding off in
# the end.

import numpy as np


def conv_transpose2d(x, weight, stride, padding):
    n, c, h, w = x.shape
    _, oc, kh, kw = weight.shape
    height, width = (h - 1) * stride + kh, (w - 1) * stride + kw
    y = np.zeros((n, oc, height, width))
    for i in range(kh):
        for j in range(kw):
            stamps = np.einsum("nchw,co->nohw", x, weight[:, :, i, j])
            y[:, :, i : i + stride * h : stride, j : j + stride * w : stride] += stamps
    return y[:, :, padding : height - padding, padding : width - padding]
