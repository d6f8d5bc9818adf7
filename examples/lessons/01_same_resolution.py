"""1. Networks that never make the image smaller, and why nobody builds them

To label every pixel, the first idea is to keep every pixel: convolution after convolution at full
resolution. Two things speak against it, and both are numbers.

A 3 x 3 convolution lets a score, the logit of a pixel, see 2 more pixels of the image. A pooling of
stride 2 doubles that for every convolution behind it. So what a score can see grows as a sum
without poolings, and as a product with them. And the deep layers of a network, which have many
channels, are cheap only because their maps are small.

Here is VGG16 turned into a fully convolutional network, at 500 x 500 pixels, with its five
poolings, and then with four, three, two, one and none. Nothing is computed but sizes: the network
runs on the backend "meta", whose arrays have a shape and no values.

Change one line: KERNEL, of fc6, its first fully connected layer, from 7 to 15. Without poolings,
does that help to see more?

Source: Long, Shelhamer, Darrell, "Fully convolutional networks for semantic segmentation" (2015),
sections 2 and 3.
Explorer: http://127.0.0.1:8642/#network?network=fcn32s&view=field
"""

# %% The network, with as many of its poolings as we like
from tinyfcn import backend, nn
from tinyfcn.lessons import Lesson, bars, sheet
from tinyfcn.summary import summary

lesson = Lesson(__doc__)
STAGES = (64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)
KERNEL = 7


def network(poolings):
    layers, channels = [], 3
    for number, stage in enumerate(STAGES):
        for more in stage:
            layers += [nn.Conv2d(channels, more, 3, padding=1), nn.ReLU()]
            channels = more
        if number < poolings:
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
    layers += [nn.Conv2d(512, 4096, KERNEL, padding=KERNEL // 2), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(4096, 4096, 1), nn.ReLU(), nn.Conv2d(4096, 21, 1))


# %% What a score sees, and what an image costs
print("poolings   a score sees   multiply-adds   the 4096 maps of fc6, float32")
sees, work = {}, {}
for poolings in range(5, -1, -1):
    with backend.using("meta"):
        figures = summary(network(poolings), (3, 500, 500))
    sees[poolings], work[poolings] = int(figures.receptive_field[0]), figures.multiply_adds
    side = figures.output_shape[2]
    print(f"{poolings:8} {sees[poolings]:8} pixels {work[poolings] / 1e9:13,.0f} G"
          f"   {side:3} x {side}, {4e-6 * 4096 * side**2:6,.0f} MB")  # fmt: skip

print(f"\nWithout poolings a score sees {sees[5] / sees[0]:.0f} times less of each side of the")
print(f"image, and the image costs {work[0] / work[5]:.0f} times as much.")

# %% The same as a picture
names = {n: f"{n} pooling{'s' * (n != 1)}" for n in sees}
lesson.show(sheet(
    bars({names[n]: sees[n] for n in sees}, "Pixels a score sees, along a side", ",.0f"),
    bars({names[n]: work[n] / 1e9 for n in sees}, "Multiply-adds of an image, in billions", ",.0f"),
))  # fmt: skip

# %%
lesson.ask("""How many 3 x 3 convolutions on top of each other, all of stride 1, does it take for a
score to see at least as many pixels as the network with five poolings does, which has 13 of them
and fc6?""")
