"""10. An autograd tape in sixty lines

Write a class whose objects remember how they were made, so that backward() can
hand gradients back through any program.

    v = Variable(array)   of float64; v.data is the array, v.grad its gradient,
                          None before there is one
    a + b, a * b          of arrays of one shape
    a @ b                 of matrices
    a.tanh(), a.sum()     sum() is over everything, and gives a number
    v.backward()          of a number: sets grad of all that it was made of to
                          its gradient by that

A variable that is used twice gets the sum of both gradients. Each op may hand
on its gradient only when it is complete: go back in an order in which a
variable comes after all that was made of it. Recursion would end in Python at
a thousand calls, and the programs below have up to 3000 ops in a row.

Example, program (a * b).sum():

a (2, 2)   b (2, 2)   loss ()   a.grad (2, 2)   b.grad (2, 2)
8 6        3 0        24        3 0             8 6
5 2        0 0                  0 0             5 2

Graded: the value and both gradients, to 1e-9 of the largest, of the programs
(a * b).sum(), (a * a + b).sum(), (h @ b * h + h).sum() with h = (a @
b).tanh(), a + a 40 times over (which takes for ever if each path is walked),
and a + b + b + ... with 3000 terms. Only NumPy may be used.
"""

import numpy as np


class Variable:
    pass  # your code
