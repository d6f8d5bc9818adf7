"""15. Winograd: a convolution with fewer multiplications

Two neighbouring outputs of a filter with 3 taps take 6 multiplications. Four are enough. Filtering
multiplies polynomials, and a polynomial is known by its values at some points: evaluate both there,
multiply value by value, and interpolate. As matrices, with d the 4 inputs and g the 3 taps:

    y = A^T [(G g) * (B^T d)]

With the points 0, 1, -1 and infinity the matrices hold nothing but 0, 1, -1 and 1/2, so all but the
four products in the middle is adding. Both ways at once, F(2 x 2, 3 x 3) takes 16 instead of 36.

More points save more: F(4 x 4, 3 x 3) takes 36 instead of 144. But its points are 2 and -2, too,
its matrices reach from 1/24 to 5, and what is rounded in between comes out larger.

Change one line: CHANNELS, to 256. The sums get longer: which of the three loses digits?

Source: Winograd, "Arithmetic complexity of computations" (1980); Lavin, Gray, "Fast algorithms for
convolutional neural networks" (2016), section 4.
Explorer: http://127.0.0.1:8642/#convolution?view=winograd
"""

# %% Four products instead of six
import numpy as np

import tinyfcn
from tinyfcn import functional as F
from tinyfcn.backend.cpu.conv import algorithm
from tinyfcn.backend.cpu.conv.winograd import POINTS, matrices
from tinyfcn.lessons import Lesson, bars, grid, sheet

lesson = Lesson(__doc__)
CHANNELS, SIDE = 64, 32

data, kernel, output = matrices(POINTS[2])  # B^T, G, A^T
d, g = np.array([3.0, 1, 4, 1]), np.array([2.0, 7, 1])
products = (kernel @ g) * (data @ d)
print(f"G g = {kernel @ g}, B^T d = {data @ d}")
print(f"the {len(products)} products: {products}")
print(f"y = {output @ products}, directly {np.correlate(d, g, 'valid')}")

# %% How many multiplications an output takes, and how exact the engine's versions are
rng = np.random.default_rng(0)
x = rng.standard_normal((1, CHANNELS, SIDE, SIDE))
w = rng.standard_normal((CHANNELS, CHANNELS, 3, 3))
x32, w32 = tinyfcn.tensor(x.astype(np.float32)), tinyfcn.tensor(w.astype(np.float32))
with algorithm.using("tiles"):  # im2col, a tile at a time; here of float32 numbers in float64
    rounded = (tinyfcn.tensor(t.numpy().astype(np.float64)) for t in (x32, w32))
    exact = F.conv2d(*rounded, padding=1).numpy()

print("\nversion      multiplications an output   error, of the largest output")
errors, work = {}, {}
for name, m in (("tiles", 0), ("winograd2", 2), ("winograd4", 4)):
    with algorithm.using(name):
        y = F.conv2d(x32, w32, padding=1).numpy()
    errors[name] = np.abs(y - exact).max() / np.abs(exact).max()
    work[name] = len(matrices(POINTS[m])[0]) ** 2 / m**2 if m else 9
    print(f"{name:12} {work[name]:10.2f} {errors[name]:28.1e}")
print(f"winograd4 multiplies {9 / work['winograd4']:.0f} times less, "
      f"and errs {errors['winograd4'] / errors['tiles']:.0f} times as much")  # fmt: skip

# %% The matrices of F(2, 3), and what each version multiplies
per_output = {f"{name}, error {errors[name]:.0e}": work[name] for name in work}
lesson.show(sheet(
    grid(data, "B^T", 56), grid(kernel, "G", 56, "g"), grid(output, "A^T", 56), None,
    bars(per_output, "Multiplications an output and channel", ".2f"),
))  # fmt: skip

# %%
lesson.ask("""How many multiplications an output does F(6 x 6, 3 x 3) take, and how many times less
is that than directly?""")
