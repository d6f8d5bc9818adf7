"""3. The gradients of convolution

gy is the gradient of some loss by y = conv2d(x, weight, bias): how much the
loss grows per unit of each y. What is its gradient by x, by the weight, and by
the bias?

Every product weight[oc, c, kh, kw] * x[...] that went into y[n, oc, oh, ow] in
puzzle 2 counts twice here: it hands gy * weight to that x, and gy * x to that
weight. What arrives at one place is added up.

    gy       (N, OC, OH, OW), float64
    x        (N, C, H, W)
    weight   (OC, C, KH, KW)
    stride, padding  as in puzzle 2
    returns  gx (N, C, H, W), gweight (OC, C, KH, KW), gbias (OC,), all float64

Example, stride 1, padding 0:

gy (1, 1, 2, 2)   x (1, 1, 3, 3)   weight (1, 1, 2, 2)   gx (1, 1, 3, 3)
3 2               8 6 5            3 2                    9 12  4
2 2               2 3 0            3 2                   15 22  8
                  0 0 1                                   6 10  4

gweight (1, 1, 2, 2)   gbias (1,)
46 34                  9
12 11

Graded: the shapes, and every number to 1e-9 of the largest, for the sizes of
puzzle 2; with strides above 1 the last rows and columns of x may be in no
window. Only NumPy may be used.

Lesson: tinyfcn lessons 4
"""

import numpy as np


def conv2d_backward(gy, x, weight, stride, padding):
    pass  # your code
