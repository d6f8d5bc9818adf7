# Take the loop over (kh, kw) of puzzle 2. Its line is y += (part of padded x)
# * weight[kh, kw]. Now gy is known: the same part of a gradient of the padded
# image gets gy * weight, and weight[kh, kw] gets the sum of gy * part. Where
# windows overlap, what arrives is added up.
#
# gx: make zeros of the size of the padded image, add
# np.einsum("nohw,oc->nchw", gy, weight[:, :, kh, kw]) to the part with the
# slices of the forward pass, and cut the padding off in the end. gweight[:, :,
# kh, kw] = np.einsum("nohw,nchw->oc", gy, part). gbias is the sum of gy over
# images and pixels.

import numpy as np


def conv2d_backward(gy, x, weight, stride, padding):
    n, c, h, w = x.shape
    kh, kw = weight.shape[2:]
    oh, ow = gy.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    gpadded = np.zeros_like(padded)
    gweight = np.zeros_like(weight)
    for i in range(kh):
        for j in range(kw):
            rows = slice(i, i + stride * oh, stride)
            cols = slice(j, j + stride * ow, stride)
            gpadded[:, :, rows, cols] += np.einsum("nohw,oc->nchw", gy, weight[:, :, i, j])
            gweight[:, :, i, j] = np.einsum("nohw,nchw->oc", gy, padded[:, :, rows, cols])
    gx = gpadded[:, :, padding : padding + h, padding : padding + w]
    return gx, gweight, gy.sum((0, 2, 3))
