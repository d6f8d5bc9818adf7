"""4. The backward pass of a convolution is two more convolutions

A convolution adds up products: y[i] = sum over k of x[i + k] w[k]. So x[j] reaches every output i
with j = i + k, and the chain rule only reads the same sums the other way round:

    input gradient    gx[j] = sum over k of gy[j - k] w[k]      the kernel, painted
    weight gradient   gw[k] = sum over i of x[i + k] gy[i]      the image, seen through gy

Let gy be 1 at one output and 0 elsewhere, and you can see it: gx is the kernel itself, lying where
that output's window was; gw is the window of the image. Any other gy is a sum of such pictures. No
element of a kernel learns from pixels that it did not meet.

Change one line: STRIDE, from 1 to 2. Where is the kernel painted now?

Source: LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition"
(1998); Dumoulin, Visin, "A guide to convolution arithmetic for deep learning" (2016), section 4.
Explorer: http://127.0.0.1:8642/#convolution?h=7&into=x&w=7
"""

# %% A convolution, and a gradient that is 1 at one output
import numpy as np

import tinyfcn
from tinyfcn import functional as F
from tinyfcn.lessons import Lesson, grid, sheet

lesson = Lesson(__doc__)
SIDE, STRIDE = 7, 1
KERNEL = np.array([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]])

x = tinyfcn.tensor(np.random.default_rng(0).integers(-9, 10, (1, 1, SIDE, SIDE)), "float64", True)
w = tinyfcn.tensor(KERNEL[None, None], requires_grad=True)
y = F.conv2d(x, w, stride=STRIDE)
gy = np.zeros(y.shape)
gy[0, 0, 1, 1] = 1
gx, gw = tinyfcn.grad([y], [x, w], [tinyfcn.tensor(gy)], retain_graph=True)
print(f"x {x.shape}, w {w.shape} -> y {y.shape}; gy is 1 at y[1, 1]")
print(f"gx is the kernel, where the window was\n{gx.numpy()[0, 0]}")
print(f"gw is the window of x\n{gw.numpy()[0, 0]}")

# %% With every gy 1, each gradient is a sum of such pictures
all_gx, all_gw = tinyfcn.grad([y], [x, w], [tinyfcn.tensor(np.ones(y.shape))])
pixel = all_gx.numpy()[0, 0, SIDE // 2, SIDE // 2]
print(f"\ngradient of the middle pixel of x when all gy are 1: {pixel:g}")

# %% The same by two convolutions, without backward: flip the kernel, and use gy as a kernel
if STRIDE == 1:
    flipped = tinyfcn.tensor(KERNEL[::-1, ::-1][None, None].copy())
    by_hand = F.conv2d(tinyfcn.tensor(gy), flipped, padding=2).numpy()
    print("gx is a convolution of gy with the flipped kernel:", (by_hand == gx.numpy()).all())
    print("gw is a convolution of x with gy as its kernel:   ",
          (F.conv2d(x, tinyfcn.tensor(gy)).numpy() == gw.numpy()).all())  # fmt: skip

# %% Forward, and both gradients
window, here = gx.numpy()[0, 0] != 0, gy[0, 0] != 0
lesson.show(sheet(
    grid(x.numpy()[0, 0], "x, and a window", 46, marks=window),
    grid(KERNEL, "w", 46), grid(y.detach().numpy()[0, 0], "y", 50, marks=here),
    grid(gx.numpy()[0, 0], "gx: w in the window's place", 46, marks=window),
    grid(gw.numpy()[0, 0], "gw: the window", 46), grid(gy[0, 0], "gy", 40, marks=here),
))  # fmt: skip

# %%
lesson.ask("""A 1 x 1 convolution of stride 2 runs over an image of 6 x 6. For how many of the 36
pixels is the gradient 0, whatever gy is?""")
