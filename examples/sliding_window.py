"""Three ways to label every pixel, timed on one image.

1. Slide a classifier over the image and ask it about the window around each pixel, as was done
   before 2015. Windows of neighbours overlap almost wholly, and the work on them is done again and
   again.
2. Stack convolutions that keep the image's size. Nothing is done twice, but every layer works at
   full resolution, and after many layers a score has still seen a few pixels only.
3. An FCN: make the map smaller on the way to the classes, and the scores larger again. Coarse maps
   are cheap, so there can be many channels and large kernels: for hardly more time than the second
   it has hundreds of times as many parameters, and a score sees hundreds of pixels.

Long, Shelhamer and Darrell, "Fully convolutional networks for semantic segmentation" (2015),
sections 2 and 3.

    python examples/sliding_window.py
"""

from __future__ import annotations

import sys
import timeit

import numpy as np

import tinyfcn
from tinyfcn import Tensor, models, nn
from tinyfcn.cli.errors import plain_errors, usage_errors
from tinyfcn.cli.parser import Parser, integer

CLASSES = 21


def seconds(model: nn.Module, image: Tensor, repetitions: int) -> float:
    """The best time of one forward pass."""
    with tinyfcn.no_grad():
        return min(timeit.repeat(lambda: model(image), number=1, repeat=repetitions))


def main(size: int, width: float, seed: int) -> None:
    """Print a table of three networks of random weights on a random image."""
    tinyfcn.manual_seed(seed)
    image = nn.init.uniform_(Tensor(np.empty((1, 3, size, size), np.float32)), -0.5, 0.5)

    with usage_errors("--width"):
        window = models.sliding_window(CLASSES, width).eval()
        same = models.same_resolution(CLASSES, width).eval()
        fcn = models.fcn8s(num_classes=CLASSES, width=width).eval()
    networks = (
        ("sliding window", window, window.side),
        ("same resolution", same, models.geometry.receptive_field(same.layers)[0]),
        ("FCN-8s", fcn, models.geometry.receptive_field([fcn.backbone, fcn.fc6])[0]),
    )
    print(f"scores of {CLASSES} classes for each pixel of a {size} x {size} image\n")
    print(f"{'':16}{'parameters':>12}{'a score sees':>16}{'one image':>13}{'to FCN-8s':>12}")
    times = [seconds(model, image, 1 if model is window else 3) for _, model, _ in networks]
    for (name, model, sees), spent in zip(networks, times, strict=True):
        parameters, field = nn.count_parameters(model), f"{sees} x {sees}"
        ratio = f"{spent / times[-1]:.1f} x"
        print(f"{name:16}{parameters:12,}{field:>16}{1000 * spent:10.0f} ms{ratio:>12}")


if __name__ == "__main__":
    parser = Parser(__doc__.splitlines()[0])
    add = parser.add_argument
    add("--size", type=integer(1), default=128, help="side of the image (default 128)")
    add("--width", type=float, default=0.5, help="factor on the channels of all (default 0.5)")
    add("--seed", type=integer(0), default=0, help="of weights and image (default 0)")
    with plain_errors():
        options = parser.parse(sys.argv[1:])
        main(options.size, options.width, options.seed)
