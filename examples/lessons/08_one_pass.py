"""8. A classifier becomes a convolution, and 36 crops become one pass

A classifier's convolutions take images of any size; only its fully connected layers do not. But a
layer that reads a (C, 4, 4) map is a convolution with a 4 x 4 kernel, on a map where it fits once.
Its weights (OC, 16 C) are reshaped to (OC, C, 4, 4), and nothing else changes. On a larger image it
fits more often, and gives a map of scores: one for each crop that the classifier could have seen.

The crops overlap almost wholly, so one pass saves almost all of the work. For VGG16, an image of
384 x 384 gives 6 x 6 scores, for 36 crops of 224.

But mind the padding. A crop has zeros beyond its border, where the large image has pixels. Only
without padding are the scores equal; with it, as in VGG16, every one of them differs.

Change one line: PADDING, from 0 to 1. How large is the difference now?

Source: Long, Shelhamer, Darrell (2015), section 3.1; Sermanet et al., "OverFeat" (2014), section
3.5. ``examples/convolutionalize.py`` measures the time for an AlexNet.
Explorer: http://127.0.0.1:8642/#network?view=crops
"""

# %% A small classifier of stride 8: three stages, then two fully connected layers
import numpy as np

import tinyfcn
from tinyfcn import backend, models, nn
from tinyfcn.lessons import Lesson, grid, sheet
from tinyfcn.models.geometry import receptive_field
from tinyfcn.summary import summary

lesson = Lesson(__doc__)
PADDING = 0

layers, channels = [], 3
for more in (8, 16, 32):
    layers += [nn.Conv2d(channels, more, 3, padding=PADDING), nn.ReLU(), nn.MaxPool2d(2)]
    channels = more
CROP = 46 if PADDING == 0 else 32  # of which 4 x 4 pixels are left
tinyfcn.manual_seed(0)
head = [nn.Flatten(), nn.Linear(32 * 16, 64), nn.ReLU(), nn.Linear(64, 2)]
classifier = nn.Sequential(*layers, *head).eval()
dense = models.convolutionalize(classifier)
field, stride = receptive_field(dense)
print(
    f"fully connected {tuple(head[1].weight.shape)} -> convolution {tuple(dense[10].weight.shape)}"
)
print(f"a score sees {field} x {field} pixels, the next is {stride} pixels on")

# %% One pass, and the crops one by one
size = CROP + 5 * stride
image = nn.init.uniform_(tinyfcn.tensor(np.empty((1, 3, size, size), np.float32)), -1, 1)
starts = range(0, size - CROP + 1, stride)
with tinyfcn.no_grad():
    once = dense(image).numpy()[0, 0]
    crops = [classifier(image[:, :, i : i + CROP, j : j + CROP]).numpy()[0, 0]
             for i in starts for j in starts]  # fmt: skip
difference = np.abs(once - np.reshape(crops, once.shape))
print(f"\n{size} x {size} image: {once.shape[0]} x {once.shape[1]} scores of {len(crops)} crops")
print(f"largest difference {difference.max():.1e}, scores up to {np.abs(once).max():.2f}")

# %% What that saves for VGG16 on 384 x 384: shapes alone, on the backend "meta"
with backend.using("meta"):
    vgg = models.vgg16()
    one, whole = (summary(models.convolutionalize(vgg), (3, n, n)) for n in (224, 384))
saved = 36 * one.multiply_adds / whole.multiply_adds
print(f"\nVGG16: 36 crops {36e-9 * one.multiply_adds:.0f} G, one pass "
      f"{1e-9 * whole.multiply_adds:.0f} G multiply-adds: {saved:.1f} times less")  # fmt: skip

# %% Both maps, and what they differ by
lesson.show(sheet(
    grid(once, f"scores of one pass, {size} x {size}", 60, ".2f"),
    grid(np.reshape(crops, once.shape), "scores of 36 crops", 60, ".2f"),
    grid(1e6 * difference, "difference, in millionths", 60, ".2g"),
))  # fmt: skip

# %%
lesson.ask("How large must a square image be at least for VGG16 to give 10 x 10 scores?")
