"""5. A transposed convolution is a convolution with its two passes swapped

A convolution is linear, so there is a matrix A with y = A x: one row for each output, one column
for each pixel, and almost everything in it 0. Going back, the gradient is multiplied by the
transposed matrix: gx = A^T gy.

Nothing keeps us from using A^T on the way forward. It takes a small map to a large one, with the
same kernel, and A is its backward pass. That is all there is to a transposed convolution: no new
arithmetic, two passes with their names exchanged. The paper calls it backwards convolution.

It is also called deconvolution, which it is not: A^T undoes the sizes, not the numbers.

Change one line: STRIDE, from 2 to 1. What changes in the matrix, and does A^T A x come nearer to x?

Source: Long, Shelhamer, Darrell (2015), section 3.3 ("Upsampling is backwards strided
convolution"); Dumoulin, Visin (2016), section 4.1 ("Convolution as a matrix operation").
Explorer: http://127.0.0.1:8642/#convolution?h=5&ph=1&pw=1&sh=2&sw=2&w=5
"""

# %% The matrix of a convolution: its answers to images with a single 1
import numpy as np

import tinyfcn
from tinyfcn import functional as F
from tinyfcn.lessons import Lesson, grid, sheet

lesson = Lesson(__doc__)
SIDE, STRIDE, PADDING = 5, 2, 1

kernel = tinyfcn.tensor(np.array([[[[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]]]))
units = tinyfcn.tensor(np.eye(SIDE**2).reshape(-1, 1, SIDE, SIDE))
answers = F.conv2d(units, kernel, stride=STRIDE, padding=PADDING).numpy()
side = answers.shape[2]
matrix = answers.reshape(SIDE**2, -1).T  # (outputs, pixels)
zeros = (matrix == 0).mean()
print(
    f"{SIDE} x {SIDE} -> {side} x {side}: a matrix {matrix.shape}, {100 * zeros:.0f} % of it zeros"
)

# %% Its transpose is the matrix of the transposed convolution, and of the gradient
small = tinyfcn.tensor(np.random.default_rng(0).integers(-3, 4, (1, 1, side, side)), "float64")
larger = F.conv_transpose2d(small, kernel, stride=STRIDE, padding=PADDING).numpy()
x = tinyfcn.tensor(np.random.default_rng(1).integers(-3, 4, (1, 1, SIDE, SIDE)), "float64", True)
y = F.conv2d(x, kernel, stride=STRIDE, padding=PADDING)
(gradient,) = tinyfcn.grad([y], [x], [small])
by_matrix = (matrix.T @ small.numpy().ravel()).reshape(larger.shape)
print("conv_transpose2d is A^T:         ", (larger == by_matrix).all())
print("and the gradient of conv2d, too: ", (larger == gradient.numpy()).all())
print("sum of (A x) g, of x (A^T g):     ",
      (y * small).sum().item(), (x * tinyfcn.tensor(larger)).sum().item())  # fmt: skip

# %% It is not the inverse, by any factor
back = F.conv_transpose2d(y, kernel, stride=STRIDE, padding=PADDING).numpy().ravel()
pixels = x.numpy().ravel()
factor = back @ pixels / (back @ back)  # the best there is
lost = np.linalg.norm(factor * back - pixels) / np.linalg.norm(pixels)
print(f"\nA^T A x, times the best factor, differs from x by {100 * lost:.0f} % of x")

# %% A and its transpose, and a map through both
lesson.show(sheet(
    grid(matrix, f"A: {matrix.shape[1]} pixels (across) to {matrix.shape[0]} outputs", 29),
    grid(x.numpy()[0, 0], "x", 42), grid(y.numpy()[0, 0], "y = A x", 50),
    grid(back.reshape(SIDE, SIDE), "A^T y", 48),
))  # fmt: skip

# %%
lesson.ask("""With kernel 3, stride 2 and padding 1, both a 7 x 7 and an 8 x 8 image become 4 x 4.
Which of the two sizes does the transposed convolution return to, and with which argument does it
return to the other?""")
