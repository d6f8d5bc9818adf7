"""11. Where a crop has to start

FCN-32s pads the image by 100 and crops the scores at 19. Why 19? Because every
layer moves coordinates, and the crop moves them back. The output pixel i of a
layer with kernel k, stride s and padding p is centred on the input coordinate

    s * i - p + (k - 1) / 2             of a convolution or pooling,
    (i + p - (k - 1) / 2) / s           of a transposed convolution.

Two maps, larger and smaller, come from one image, each through a list of
layers. The crop begins at pixel offset of larger, the same down and across:
which one, so that it is centred on the same place of the image as pixel 0 of
smaller?

    larger, smaller  lists of (kind, kernel, stride, padding), in order; kind is
             "conv", "pool" or "deconv". An empty list is the image
    returns  offset, an integer of at least 0; there is one, and the maps have
             the same scale

Example, larger [('conv', 3, 1, 4), ('pool', 2, 2, 0), ('deconv', 4, 2,
0)], smaller []:

offset ()
4

Graded: offset, for FCN-32s and FCN-16s, the skip of FCN-16s, and small nets.
Only NumPy may be used.

Lesson: tinyfcn lessons 9
"""

import numpy as np


def crop_offset(larger, smaller):
    pass  # your code
