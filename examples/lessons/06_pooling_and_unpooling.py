"""6. Max pooling, its indices, and unpooling

Max pooling keeps the largest number of each window, and forgets where it was. Its backward pass has
to know: the gradient goes to the pixel that won, and to no other. So the index of each winner is
kept, h * W + w in the plane of the image. Of equal numbers the first in reading order wins.

SegNet uses these indices on the way up: unpooling puts each number back to the place it came from,
and zeros elsewhere. So unpooling is the backward pass of pooling, used forwards, and costs two bits
for a window of 2 x 2, where a U-Net keeps the whole map of 32-bit numbers.

Change one line: KERNEL and STRIDE, from 2, 2 to 3, 2. Some pixels win twice: what does unpooling
put there?

Source: Badrinarayanan, Kendall, Cipolla, "SegNet" (2017), section III; Zeiler, Fergus,
"Visualizing and understanding convolutional networks" (2014), section 2.1.
Explorer: http://127.0.0.1:8642/#upsampling?h=7&w=7
"""

# %% The winners of an image
import numpy as np

import tinyfcn
from tinyfcn import functional as F
from tinyfcn.lessons import Lesson, grid, sheet

lesson = Lesson(__doc__)
SIDE, KERNEL, STRIDE = 7, 2, 2

pixels = np.random.default_rng(3).integers(0, 10, (1, 1, SIDE, SIDE))
x = tinyfcn.tensor(pixels, "float64", requires_grad=True)
y, indices = F.max_pool2d(x, KERNEL, STRIDE, return_indices=True)
print(
    f"{SIDE} x {SIDE} -> {y.shape[2]} x {y.shape[3]}; the winners are at\n{indices.numpy()[0, 0]}"
)

# %% Back to their places; a size that pooling rounded down must be told
back = F.max_unpool2d(y, indices, KERNEL, STRIDE, output_size=(SIDE, SIDE)).numpy()
(gradient,) = tinyfcn.grad([y], [x], [y.detach()])
share = np.count_nonzero(back) / back.size
kept = (back**2).sum() / (pixels**2).sum()
print(f"\nunpooled, {100 * share:.0f} % of the pixels hold {100 * kept:.0f} % of all squares' sum")
print("the backward pass of pooling gives the same:", (gradient.numpy() == back).all())

# %% Does pooling what was unpooled give the same again? It does if no number is below 0
again = F.max_pool2d(tinyfcn.tensor(back), KERNEL, STRIDE).numpy()
print("pool, unpool, pool again gives the same:    ", (again == y.numpy()).all())

# %% What the indices of all five poolings of VGG16 take, for an image of 512 x 512
channels, side = (64, 128, 256, 512, 512), 512
maps = sum(c * (side >> i) ** 2 for i, c in enumerate(channels))  # what is pooled
windows = maps // 4
print(f"\nVGG16's indices of two bits: {windows / 4e6:.0f} MB; its maps: {4 * maps / 1e6:.0f} MB")

# %% The way down and the way up
won = np.zeros(SIDE**2, bool)
won[indices.numpy().ravel()] = True
won = won.reshape(SIDE, SIDE)
lesson.show(sheet(
    grid(pixels[0, 0], "x, and the winners", 48, marks=won),
    grid(y.numpy()[0, 0], "y", 48, most=9), grid(indices.numpy()[0, 0] * 1.0, "indices", 48),
    grid(back[0, 0], "unpooled", 48, marks=won, most=9),
    grid(again[0, 0], "pooled again", 48, most=9),
))  # fmt: skip

# %%
lesson.ask("""Pool an image whose numbers are all below 0 with 2 x 2 windows, unpool, and pool
again. What comes out?""")
