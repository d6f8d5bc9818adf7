"""11. Transposed convolutions that begin as bilinear interpolation

A transposed convolution of stride f and kernel 2 f can do what bilinear interpolation does, if its
weights are a triangle along each axis: 1 - |i - centre| / f. Each number paints a pyramid, and the
pyramids that overlap in a pixel weigh 1 together, so a constant map stays constant.

FCNs begin so, and the published ones end so, too: their learning rate for these weights is 0.
Beginning with random numbers instead, the network has first to learn not to paint stripes.

One pyramid for each class: a weight (C, C, K, K) is 0 but for the pairs (c, c), or the classes are
mixed. Caffe's filler "bilinear" fills all pairs, and is right with group = C only.

Change one line: FACTOR, from 2 to 4 or 8. How large is the kernel, and what do its taps sum to?

Source: Long, Shelhamer, Darrell (2015), section 3.3; its files for Caffe (surgery.py).
Explorer: http://127.0.0.1:8642/#upsampling?weights=random
"""

# %% The weights
import numpy as np

import tinyfcn
from tinyfcn import functional as F
from tinyfcn import nn
from tinyfcn.lessons import Lesson, grid, sheet

lesson = Lesson(__doc__)
FACTOR, CLASSES = 2, 2

kernel = 2 * FACTOR
layer = nn.ConvTranspose2d(CLASSES, CLASSES, kernel, FACTOR, FACTOR // 2, bias=False)
layer.weight.data = layer.weight.data.astype(np.float64)
tinyfcn.manual_seed(0)
random = nn.init.normal_(layer.weight, std=0.3).numpy().copy()
nn.init.bilinear_(layer.weight)
weight = layer.weight.numpy()
print(f"kernel {kernel}, stride {FACTOR}: along an axis {nn.init.bilinear_kernel(kernel)}")
phases = [float(nn.init.bilinear_kernel(kernel)[i::FACTOR].sum()) for i in range(FACTOR)]
print(f"the taps that meet in a pixel sum to {phases}")

# %% It interpolates, away from the border
rng = np.random.default_rng(0)
x = tinyfcn.tensor(rng.integers(0, 10, (1, CLASSES, 5, 5)), "float64")
y = layer(x).numpy()
wanted = F.interpolate(x, scale_factor=FACTOR, mode="bilinear").numpy()
inside = (..., slice(FACTOR, -FACTOR), slice(FACTOR, -FACTOR))
difference = np.abs(y - wanted)
print(f"largest difference to F.interpolate inside: {difference[inside].max():.1e}")
print(f"at the border, where zeros are beyond it:   {difference.max():.2f}")

# %% A map of ones, by the bilinear weights, by random ones, and by pairs that are all filled
ones = tinyfcn.tensor(np.ones((1, CLASSES, 3, 3)))
outputs = {}
for name, values in (("bilinear", weight), ("random", random),
                     ("all pairs", np.broadcast_to(weight[:1, :1], weight.shape))):  # fmt: skip
    layer.weight.data = np.ascontiguousarray(values)
    outputs[name] = layer(ones).numpy()[0, 0]
    part = outputs[name][inside]
    print(f"a map of ones, {name:9} {part.min():6.2f} to {part.max():.2f}")

# %% Weights, and what becomes of a map of ones
side = 360 // len(outputs["bilinear"])
lesson.show(sheet(
    grid(weight[0, 0], "weight of (0, 0)", 60), grid(random[0, 0], "random", 60, ".2f"), None,
    *(grid(out, f"ones, {name}", side, ".2f") for name, out in outputs.items()),
))  # fmt: skip

# %%
lesson.ask("""FCN-32s upsamples with kernel 64 and stride 32. What do the 64 x 64 weights of one
class add up to?""")
