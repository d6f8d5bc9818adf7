# Each transform of four or three numbers is linear: write it as a matrix. What
# are G (4, 3) with G g = (g0, (g0 + g1 + g2) / 2, ...), B (4, 4) for x, and A
# (2, 4) for m?
#
# A matrix M from the left transforms the columns, and M.T from the right the
# rows: of_weight = G weight G.T, of_input = B x B.T, of_products = A m A.T.

import numpy as np

G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
B = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
A = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])


def of_weight(weight):
    return G @ weight @ G.T


def of_input(x):
    return B @ x @ B.T


def of_products(m):
    return A @ m @ A.T
