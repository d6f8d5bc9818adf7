"""13. Checking a gradient, and why in float64

A gradient can be checked without knowing how it was computed: nudge the input by a little, eps v,
and see by how much the result changes. (f(x + eps v) - f(x - eps v)) / (2 eps) should be the
gradient times v. It has two errors. One comes from the curve, and shrinks as eps squared. The other
comes from rounding: f is known to 16 digits in float64 and to 7 in float32, and dividing by eps
makes what is lost large again. So the error falls, and then rises, until f does not change at all:
100 %.

In float64 there is a wide valley, and its ground is ten digits deep. In float32 the valley is so
shallow that a wrong gradient can hide in it: that is why gradcheck refuses float32.

And there are kinks. Where a ReLU switches within eps, the quotient is wrong and the gradient right.

Change one line: KINK, to True. Which part of the curve has moved?

Source: Griewank, Walther, "Evaluating derivatives" (2008); Chainer's and PyTorch's gradcheck; in
this package ``tinyfcn/gradcheck.py``.
Explorer: http://127.0.0.1:8642/#learning?part=check
"""

# %% A small network, its loss along a line, and the derivative from one backward pass
import numpy as np

import tinyfcn
from tinyfcn import functional as F
from tinyfcn.lessons import Lesson, plot, sheet

lesson = Lesson(__doc__)
KINK = False

rng = np.random.default_rng(0)
inputs, weights = rng.normal(size=(1, 3, 8, 8)), rng.normal(size=(4, 3, 3, 3))
directions = rng.normal(size=(9, *inputs.shape))
labels = tinyfcn.tensor(rng.integers(0, 4, (1, 6, 6)))


def loss(pixels):
    y = F.conv2d(pixels, tinyfcn.tensor(weights.astype(pixels.dtype)))
    return F.cross_entropy(F.relu(y) if KINK else F.tanh(y), labels)


x = tinyfcn.tensor(inputs, requires_grad=True)
(gradient,) = tinyfcn.grad(loss(x), [x])
exact = (gradient.numpy() * directions).sum((1, 2, 3, 4))  # along each direction
print(f"derivative along the first direction, by backward: {exact[0]:.12f}")

# %% The difference quotient in both precisions: the median error of nine directions
steps = 10.0 ** -np.arange(1, 13, 0.5)


def quotient(direction, eps, dtype):
    above, below = (tinyfcn.tensor((inputs + e * direction).astype(dtype)) for e in (eps, -eps))
    return (float(loss(above).item()) - float(loss(below).item())) / (2 * eps)


errors = {}
for dtype in ("float32", "float64"):
    found = np.array([[quotient(v, eps, dtype) for v in directions] for eps in steps])
    errors[dtype] = np.median(np.abs(found / exact - 1), axis=1)

print("\n  eps    float32   float64   (relative error)")
for i in range(0, len(steps), 2):
    print(f"  1e-{i // 2 + 1:<2}  {errors['float32'][i]:8.0e}  {errors['float64'][i]:8.0e}")
best = {name: steps[values.argmin()] for name, values in errors.items()}
for name, values in errors.items():
    print(f"{name}: at best {values.min():.0e}, with eps {best[name]:.0e}")

# %% Both errors over eps
lines = {name: (steps, np.maximum(values, 1e-14)) for name, values in errors.items()}
lesson.show(sheet(plot(lines, "Relative error of the quotient", "eps", log="xy", height=460)))

# %%
lesson.ask("""Between eps = 1e-2 and eps = 1e-3, by about which factor does the error fall in
float64? And does gradcheck find a gradient that is wrong by one percent?""")
