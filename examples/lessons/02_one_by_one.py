"""2. A 1 x 1 convolution is a fully connected layer at every pixel

A fully connected layer takes a vector of C numbers and gives OC sums of them: y = W x. A 1 x 1
convolution does the same with the C channels of each pixel: one layer, applied H * W times. The
weights (OC, C) and (OC, C, 1, 1) are the same numbers in the same order.

What it means for learning is the surprise: to this layer, one image is a batch of H * W examples.
Its weight gradient is the sum over all of them, so a loss on a whole image is a loss on thousands
of patches at once. That is how a fully convolutional network learns from a single image at a time.

Change one line: HEIGHT and WIDTH. Which numbers below change, and which do not?

Source: Long, Shelhamer, Darrell (2015), sections 3 and 3.4 ("patchwise training is loss
sampling"); Lin, Chen, Yan, "Network in network" (2014), section 3.1.
Explorer: http://127.0.0.1:8642/#convolution?c=3&h=5&kh=1&kw=1&oc=2
"""

# %% One layer, twice: for pixels of an image, and for vectors
import numpy as np

import tinyfcn
from tinyfcn import functional as F
from tinyfcn.lessons import Lesson, grid, sheet

lesson = Lesson(__doc__)
C, OC, HEIGHT, WIDTH = 3, 2, 5, 6

rng = np.random.default_rng(0)
image = tinyfcn.tensor(rng.integers(-3, 4, (1, C, HEIGHT, WIDTH)), "float64", requires_grad=True)
weight = tinyfcn.tensor([[2, -1, 1], [0, 1, -2]], "float64", requires_grad=True)

convolved = F.conv2d(image, weight.reshape(OC, C, 1, 1))  # (1, OC, H, W)
vectors = image.permute(0, 2, 3, 1).reshape(-1, C)  # (H W, C): a pixel is an example
connected = F.linear(vectors, weight)  # (H W, OC)
as_map = connected.numpy().T.reshape(convolved.shape)
print(f"convolution  {image.shape} -> {convolved.shape}")
print(f"linear       {vectors.shape} -> {connected.shape}")
print(f"largest difference  {np.abs(convolved.numpy() - as_map).max()}")

# %% The weight gradient of an image is a sum over its pixels
(of_image,) = tinyfcn.grad(convolved.sum(), [weight], retain_graph=True)
of_pixels = []
for pixel in range(HEIGHT * WIDTH):
    (gradient,) = tinyfcn.grad(connected[pixel].sum(), [weight], retain_graph=True)
    of_pixels.append(gradient.numpy())
print(f"\nweight gradient of the image            {of_image.numpy()[0]}")
print(f"sum of the gradients of its {len(of_pixels)} pixels    {sum(of_pixels)[0]}")
print(f"gradient of the first pixel alone        {of_pixels[0][0]}")

# %% A pixel's three channels, and the two sums of them
row, column = 2, 3
here = np.zeros((HEIGHT, WIDTH), bool)
here[row, column] = True
x, w, y = image.numpy()[0], weight.numpy(), convolved.numpy()[0]
text = " + ".join(f"({w[0, c]:g})({x[c, row, column]:g})" for c in range(C))
lesson.show(sheet(
    *(grid(x[c], f"x, channel {c}", 40, marks=here) for c in range(C)),
    *(grid(y[o], f"y, channel {o}", 40, marks=here) for o in range(OC)),
    grid(w, "weight (OC, C)", 50),
    title=f"y[0, {row}, {column}] = {text} = {y[0, row, column]:g}",
))  # fmt: skip

# %%
lesson.ask("""VGG16 for 1000 classes ends in a fully connected layer of 4096 inputs. As a 1 x 1
convolution (with a bias) on a map of 6 x 6 pixels: how many parameters has it, and how many
training examples is one image to it?""")
