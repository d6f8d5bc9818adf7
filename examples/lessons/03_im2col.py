"""3. im2col: convolution as one matrix product

Lay out the window behind every output pixel as a row of a matrix, and a convolution is a matrix
product with the kernels: y = columns W^T. Matrix products are what computers do fastest, so this is
how convolution has been computed since 2006, and in Caffe.

im2col is a convolution itself, with kernels that pick one pixel each.

The price is memory. Windows overlap, so a pixel stands in the matrix once for each window that sees
it: with a 3 x 3 kernel up to nine times. For the second layer of VGG16 that is a matrix of more
than half a gigabyte, for a photo of 500 x 500. That is why this engine builds it a tile at a time
(backend/cpu/conv/tiles.py) and never keeps it.

Change one line: STRIDE, from 1 to 2 or 3. How often is a pixel copied now?

Source: Chellapilla, Puri, Simard, "High performance convolutional neural networks for document
processing" (2006); Jia, "Learning semantic image representations at a large scale" (2014).
Explorer: http://127.0.0.1:8642/#convolution?h=5&view=im2col&w=5
"""

# %% The windows of a 5 x 5 image, laid out by nine kernels that pick a pixel each
import numpy as np

import tinyfcn
from tinyfcn import functional as F
from tinyfcn.lessons import Lesson, grid, sheet

lesson = Lesson(__doc__)
SIDE, KERNEL, STRIDE = 5, 3, 1

image = np.arange(1.0, 1 + SIDE**2).reshape(1, 1, SIDE, SIDE)  # (N, C, H, W)
x = tinyfcn.tensor(image, requires_grad=True)
picks = tinyfcn.tensor(np.eye(KERNEL**2).reshape(-1, 1, KERNEL, KERNEL))
columns = F.conv2d(x, picks, stride=STRIDE)  # (1, KH KW, OH, OW)
rows = columns.permute(0, 2, 3, 1).reshape(-1, KERNEL**2).numpy()  # (OH OW, KH KW)
side = columns.shape[2]
print(f"{image.size} pixels become a matrix {rows.shape} of {rows.size} numbers")

# %% The product is the convolution
kernel = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, -1]])
product = (rows @ kernel.ravel()).reshape(side, side)
convolved = F.conv2d(x, tinyfcn.tensor(kernel[None, None]), stride=STRIDE).numpy()[0, 0]
print(f"largest difference to F.conv2d: {np.abs(product - convolved).max()}")

# %% How often each pixel was copied: as often as a 1 for each copy comes back to it
copies = tinyfcn.grad([columns.sum()], [x])[0].numpy()[0, 0]
print(f"a pixel is copied {copies.min():.0f} to {copies.max():.0f} times")

# %% What that is for conv1_2 of VGG16 on an image of 500 x 500: 64 channels, kernel 3, padding 1
photo, patches = 4 * 500 * 500 * 64, 4 * 500 * 500 * 64 * 3 * 3  # bytes of float32
print(f"\nconv1_2 of VGG16: {photo / 1e6:.0f} MB of input, {patches / 1e6:.0f} MB of columns")

# %% All of it in one picture
seen = np.zeros((SIDE, SIDE), bool)
seen[:KERNEL, :KERNEL] = True
first = np.zeros(rows.shape, bool)
first[0] = True
lesson.show(sheet(
    grid(image[0, 0], "the image, and a window", 50, marks=seen),
    grid(copies, "copies of each pixel", 50, most=9),
    grid(rows, f"the windows as rows: {rows.shape[0]} x {rows.shape[1]}", 46, marks=first),
    grid(kernel.reshape(-1, 1), "kernel", 46),
    grid(product, "rows x kernel, as a map", 46),
))  # fmt: skip

# %%
lesson.ask("""A 3 x 3 kernel with stride 2 and without padding runs over an image of 9 x 9. How
many of its 81 pixels are copied four times, and how many times is a pixel copied on average?""")
