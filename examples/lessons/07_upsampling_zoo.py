"""7. Five ways to make a map larger, and where checkerboards come from

Scores of a coarse map have to reach every pixel. Nearest neighbour repeats each number, a bed of
nails puts it into the corner of a block of zeros, unpooling to where a maximum was, bilinear
interpolation mixes neighbours. All these are fixed. A transposed convolution learns: each number
paints a kernel, and where kernels overlap their paint adds up.

That is the trap. Unless the kernel is a multiple of the stride, some pixels get paint from more
kernels than others, in a pattern as regular as a chess board. A constant map does not stay
constant: with kernel 3 and stride 2, one pixel gets four times as much as another.

Change one line: STRIDE and KERNELS, to 3 and (3, 4, 6, 7). Which overlaps are even now?

Source: Odena, Dumoulin, Olah, "Deconvolution and checkerboard artifacts" (2016); Long, Shelhamer,
Darrell (2015), section 3.3.
Explorer: http://127.0.0.1:8642/#upsampling?qh=0&qw=0&th=3&tw=3&weights=random
"""

# %% The five, on one small map
import numpy as np

import tinyfcn
from tinyfcn import functional as F
from tinyfcn.lessons import Lesson, grid, sheet

lesson = Lesson(__doc__)
STRIDE, KERNELS = 2, (2, 3, 4, 5)

x = tinyfcn.tensor(np.arange(4.0, 40, 4).reshape(1, 1, 3, 3))
places = np.random.default_rng(0).integers(0, STRIDE**2, (3, 3))  # of the winner in its window
row, column = np.mgrid[:3, :3] * STRIDE + np.divmod(places, STRIDE)
indices = tinyfcn.tensor((row * 3 * STRIDE + column)[None, None])
ways = {
    "nearest": F.unpool_nearest(x, STRIDE),
    "bed of nails": F.unpool_bed_of_nails(x, STRIDE),
    "unpooling": F.max_unpool2d(x, indices, STRIDE),
    "bilinear": F.interpolate(x, scale_factor=STRIDE, mode="bilinear"),
    "transposed, kernel 3": F.conv_transpose2d(
        x, tinyfcn.tensor(np.ones((1, 1, 3, 3))), None, STRIDE
    ),
}
print(f"sum of the map {x.sum().item():g}; of the larger one:")
for name, y in ways.items():
    print(f"  {name:21} {y.shape[2]} x {y.shape[3]}  {y.sum().item():g}")

# %% What a map of ones becomes: a kernel of ones counts the overlaps
overlaps, ratios = {}, {}
ones = tinyfcn.tensor(np.ones((1, 1, 6, 6)))
print(f"\nstride {STRIDE}: overlaps away from the border")
for k in KERNELS:
    counts = F.conv_transpose2d(ones, tinyfcn.tensor(np.ones((1, 1, k, k))), None, STRIDE)
    inside = counts.numpy()[0, 0, k : -k or None, k : -k or None]
    overlaps[k], ratios[k] = counts.numpy()[0, 0], inside.max() / inside.min()
    print(f"  kernel {k}: {inside.min():g} to {inside.max():g}, 1 : {ratios[k]:g}")

# %% All of them as pictures
maps = [grid(y.numpy()[0, 0], name, 38, ".3g") for name, y in ways.items()]
boards = [
    grid(overlaps[k], f"kernel {k}, 1 : {ratios[k]:g}", 175 // len(overlaps[k]), None)
    for k in KERNELS
]
lesson.show(sheet(*maps, None, *boards, title="Larger maps, and below them overlaps of kernels"))

# %%
lesson.ask("""With a kernel of 7 and a stride of 3, by which factor does the brightest pixel of a
map of ones, upsampled with a kernel of ones, exceed the darkest, away from the border?""")
