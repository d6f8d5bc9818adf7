"""9. Why the padding is 100, and why the crop is 19

The published FCN-32s pads its image by 100 pixels and cuts 19 off its scores. Neither number is
explained in the paper; both are arithmetic. Every layer moves coordinates by a linear map: what
lies at x in its input appears, behind a layer of kernel k, stride s and padding p, at

    (x + p - (k - 1) / 2) / s      after a convolution or pooling
    s x + (k - 1) / 2 - p          after a transposed convolution

Follow x = 0 through all layers, with fractions, and it comes out at a whole number: the crop.

The padding has to do two things. The scores must reach over all four borders of the image. And fc6
looks at 7 x 7 pixels of a map 32 times smaller, and must find them even if the image is a single
pixel. One of the two asks for more, and 100 is the next round number.

Change one line: PADDING, from 100 to 90. Which crop belongs to it?

Source: Long, Shelhamer, Darrell (2015), and its files for Caffe, with coord_map.py (Shelhamer).
Explorer: http://127.0.0.1:8642/#network?network=fcn32s&view=pad
"""

# %% The layers of FCN-32s as far as places go: one channel is enough
import numpy as np

from tinyfcn import nn
from tinyfcn.functional.sizes import conv_transpose_size, pool_size
from tinyfcn.lessons import Lesson, plot, sheet
from tinyfcn.models.geometry import IMAGE, coordinate_map, crop_offset

lesson = Lesson(__doc__)
PADDING = 100


def layers(padding):
    yield "conv1_1", nn.Conv2d(1, 1, 3, padding=padding)
    for stage, count in enumerate((2, 2, 3, 3, 3), start=1):
        for number in range(1 + (stage == 1), count + 1):
            yield f"conv{stage}_{number}", nn.Conv2d(1, 1, 3, padding=1)
        yield f"pool{stage}", nn.MaxPool2d(2, ceil_mode=True)
    yield "fc6", nn.Conv2d(1, 1, 7)
    yield "upscore", nn.ConvTranspose2d(1, 1, 64, stride=32)


# %% Where the first pixel of the image appears
print(f"padding {PADDING}: pixel 0 of the image is, in the output of")
place, chain = IMAGE, []
for name, layer in layers(PADDING):
    place, chain = coordinate_map([layer], start=place), [*chain, layer]
    if not name.startswith("conv") or name == "conv1_1":
        print(f"  {name:8} at {place.shift!s:>8} = {float(place.shift):7.3f}   scale {place.scale}")
crop = crop_offset(coordinate_map(chain), IMAGE)
print(f"so the crop starts at {crop}\n")


# %% What a padding is enough for: both borders, and fc6
def pooled(padding, n):
    size = n + 2 * padding - 2
    for _ in range(5):
        size = pool_size(size, 2, 2, 0, 1, True)
    return size


sizes, paddings = range(1, 641), np.arange(60, 121)
left = paddings - PADDING + crop  # a pixel more on the left, and all moves by one
right = np.array([min(conv_transpose_size(pooled(p, n) - 6, 64, 32, 0, 1, 0) - n for n in sizes)
                  for p in paddings]) - left  # fmt: skip
least = np.array([min(n for n in sizes if pooled(p, n) >= 7) for p in paddings])
print(f"padding from which on scores reach over the left border: {paddings[left >= 0][0]}")
print(f"over the right one, for every size:                      {paddings[right >= 0][0]}")
print(f"fc6 finds 7 x 7 pixels, even on an image of one:         {paddings[least == 1][0]}")

# %% The same over all paddings
lines = {"scores beyond the image, on the left: the crop": (paddings, left),
         "smallest image on which fc6 fits": (paddings, least)}  # fmt: skip
lesson.show(sheet(plot(lines, "Pixels, by the padding of conv1_1")))

# %%
lesson.ask("""With padding 1, as in VGG16, where would the crop have to start, and how many pixels
of the image have no score on the left?""")
