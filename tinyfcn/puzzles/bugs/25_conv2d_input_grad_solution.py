# gx is at first the gradient of the padded image. Where in that does the image
# lie?
#
# Padding puts the image at (padding, padding), so its gradient is a crop from
# there.

import numpy as np


def conv2d_input_grad(gy, weight, stride, padding, size):
    n, oc, oh, ow = gy.shape
    _, c, kh, kw = weight.shape
    h, w = size
    gx = np.zeros((n, c, h + 2 * padding, w + 2 * padding))
    for i in range(kh):
        for j in range(kw):
            rows = slice(i, i + stride * oh, stride)
            cols = slice(j, j + stride * ow, stride)
            tap = weight[:, :, i, j]
            gx[:, :, rows, cols] += np.einsum("nohw,oc->nchw", gy, tap)
    return gx[:, :, padding : padding + h, padding : padding + w]
