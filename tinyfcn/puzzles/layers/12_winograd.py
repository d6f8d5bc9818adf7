"""12. Winograd's F(2 x 2, 3 x 3)

A 3 x 3 convolution takes 36 products for four neighbouring outputs. 16 are
enough. In one dimension two outputs take six products,

    y0 = x0 g0 + x1 g1 + x2 g2,   y1 = x1 g0 + x2 g1 + x3 g2.

Winograd needs four: m1 = (x0 - x2) g0, m2 = (x1 + x2) (g0 + g1 + g2) / 2, m3 =
(x2 - x1) (g0 - g1 + g2) / 2, m4 = (x1 - x3) g2. Then

    y0 = m1 + m2 + m3,   y1 = m2 - m3 - m4.

Do it in two dimensions: the transforms work down the columns, and then along
the rows. Write three functions; the sixteen products between them are made for
you:

    y = of_products(of_weight(weight) * of_input(x))

    of_weight    weight (3, 3), float64, to (4, 4)
    of_input     x (4, 4) to (4, 4)
    of_products  (4, 4) to y (2, 2), the convolution of x without padding

Example:

x (4, 4)   weight (3, 3)   y (2, 2)
8 6 5 2    2 2 2           55 51
3 0 0 0    3 1 3           54 76
1 8 6 9    2 0 1
5 6 9 7

Graded: y to 1e-9 of the largest, for several x and weight. Only NumPy may be
used.

Lesson: tinyfcn lessons 15
"""

import numpy as np


def of_weight(weight):
    pass  # your code


def of_input(x):
    pass  # your code


def of_products(m):
    pass  # your code
