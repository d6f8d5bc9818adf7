"""14. Receptive fields: what a score can see, and what it looks at

Which pixels can change a score? Layer by layer it is a matter of counting: a layer of kernel k adds
k - 1 steps of the map it works on, and a stride makes all steps behind it longer. For FCN's fc7 it
comes to 404 x 404 pixels.

But most paths through the layers end near the middle, as most sums of many dice do. Ask the
gradient instead, how much a score changes with each pixel: it is a hill, and the pixels far out
hardly count. Half of it lies in a square of less than half the side. This is called the effective
receptive field. It grows by the square root of the depth, so a deeper network looks at a smaller
part of what it could see.

Change one line: STAGES, to (2, 2, 3). How large is the field, and what share of it is used?

Source: Long, Shelhamer, Darrell (2015), section 3; Luo, Li, Urtasun, Zemel, "Understanding the
effective receptive field in deep convolutional neural networks" (2016).
Explorer: http://127.0.0.1:8642/#network?view=field
"""

# %% VGG16's layers up to fc6, narrow, with random weights
import numpy as np

import tinyfcn
from tinyfcn import nn
from tinyfcn.lessons import Lesson, grid, plot, sheet
from tinyfcn.models.geometry import receptive_field

lesson = Lesson(__doc__)
STAGES, WIDTH = (2, 2, 3, 3, 3), 4

tinyfcn.manual_seed(0)
layers, channels, names = [], 3, {}
for stage, count in enumerate(STAGES, start=1):
    for _ in range(count):
        layers += [nn.Conv2d(channels, WIDTH * stage, 3), nn.ReLU()]
        channels = WIDTH * stage
    layers.append(nn.MaxPool2d(2))
    names[f"pool{stage}"] = len(layers)
layers.append(nn.Conv2d(channels, 8, 7))
names["fc6"] = len(layers)
for name, depth in names.items():
    field, stride = receptive_field(layers[:depth])
    print(f"{name:6} sees {field:3} x {field:<3} pixels, the next one is {stride} pixels on")

# %% The gradient of one score with respect to an image that it sees as a whole
network = nn.Sequential(*layers)
total = np.zeros((field, field))
for seed in range(3):  # a mean over some images and weights
    tinyfcn.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    image = nn.init.normal_(tinyfcn.tensor(np.empty((1, 3, field, field), np.float32)))
    image.requires_grad = True
    (network(image) ** 2).sum().backward()
    total += (image.grad.numpy()[0] ** 2).sum(0) ** 0.5
touched = np.nonzero(total.sum(0))[0]
print(f"\nmeasured by gradient: columns {touched[0]} to {touched[-1]} of {field} can change it")

# %% How much of it is inside of a square in the middle
sides = np.arange(2 - field % 2, field + 1, 2)
inside = np.array([total[m : field - m, m : field - m].sum() for m in (field - sides) // 2])
inside /= total.sum()
side = {share: int(sides[np.argmax(inside >= share)]) for share in (0.5, 0.95)}
for share, n in side.items():
    print(f"{100 * share:.0f} % of it are in {n} x {n}, {100 * (n / field) ** 2:.0f} % of the area")

# %% The hill, and its share by side
step = max(1, -(-field // 130))
count = field // step
hill = total[: count * step, : count * step].reshape(count, step, count, step).mean((1, 3))
place = np.abs(np.arange(count) + 0.5 - count / 2) <= side[0.5] / step / 2
title = f"gradient over {field} x {field} pixels; half of it is in the frame"
lesson.show(sheet(
    grid(hill, title, 520 // count, None, marks=np.outer(place, place)),
    plot({"": (sides, inside)}, "Share of the gradient in a square", "side of the square, pixels"),
))  # fmt: skip

# %%
lesson.ask("By how many pixels would a 3 x 3 convolution more, behind pool5, widen the field?")
