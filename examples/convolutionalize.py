"""One pass over a large image instead of a classifier run on every crop of it.

A classifier looks at images of one size, 224 × 224 here. To label a larger image one can cut it
into overlapping crops and classify each. Neighbouring crops share most of their pixels, though, and
all the work on these is done again and again. Nothing in a convolution fixes the size of its input;
only the fully connected layers do, and they are convolutions too: a layer that sees a 256 × 3 × 3
map is a 3 × 3 convolution with 256 input channels, on a map where it fits exactly once. Read that
way, the classifier runs on an image of any size and gives a map of scores, one for each crop.

Long, Shelhamer and Darrell, "Fully convolutional networks for semantic segmentation" (2015),
section 3.1, on which everything else in this package is built.

    python examples/convolutionalize.py

The scores are equal because this classifier has no padding. With zero padding inside, as in VGG16,
a crop sees zeros beyond its borders where the large image has pixels, and the scores differ.
"""

from __future__ import annotations

import math
import sys
import timeit
from collections.abc import Callable

import numpy as np

import tinyfcn
from tinyfcn import Tensor, models, nn
from tinyfcn import functional as F
from tinyfcn.cli.errors import plain_errors
from tinyfcn.cli.parser import Parser, integer

CROP, STEP = 224, 32  # size of a crop, and the distance between two: the network's total stride


def alexnet_without_padding(num_classes: int = 1000) -> nn.Sequential:
    """Like AlexNet, but with padding 0 everywhere: 224 → 54 → 26 → 24 → 11 → 9 → 7 → 3 pixels."""
    return nn.Sequential(
        nn.Conv2d(3, 96, 11, stride=4),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(96, 256, 3),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(256, 384, 3),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Flatten(),
        nn.Linear(256 * 3 * 3, 1024),
        nn.ReLU(),
        nn.Linear(1024, num_classes),
    )


def crops(image: Tensor) -> list[Tensor]:
    """The crops of an image, row by row."""
    starts = range(0, image.shape[2] - CROP + 1, STEP)
    return [image[:, :, i : i + CROP, j : j + CROP] for i in starts for j in starts]


def crop_by_crop(classifier: nn.Module, image: Tensor) -> np.ndarray:
    """Classify every crop, each on its own: (crops, classes)."""
    return np.concatenate([classifier(crop).numpy() for crop in crops(image)])


def all_at_once(classifier: nn.Module, image: Tensor) -> np.ndarray:
    """Classify all crops as one batch, which uses the machine better: (crops, classes)."""
    return classifier(F.cat(crops(image), 0)).numpy()


def in_one_pass(dense: nn.Module, image: Tensor) -> np.ndarray:
    """Run the convolutionalized classifier once: (crops, classes), a crop for each score."""
    scores = dense(image)  # (1, classes, rows, columns)
    return scores.reshape(scores.shape[1], -1).numpy().T


def timed(fn: Callable[..., np.ndarray], *arguments: object) -> tuple[np.ndarray, float]:
    """The result, and the best of three times in seconds, after a first call."""
    return fn(*arguments), min(timeit.repeat(lambda: fn(*arguments), number=1, repeat=3))


def main(size: int, seed: int) -> None:
    """Compare the three ways on a random image of ``size`` × ``size`` pixels."""
    tinyfcn.manual_seed(seed)
    classifier = alexnet_without_padding().eval()
    dense = models.convolutionalize(classifier)
    field, stride = models.geometry.receptive_field(dense)
    print("the classifier's fully connected layers, as convolutions:")
    print(f"  {dense[12]}\n  {dense[14]}")
    print(f"one score sees {field} x {field} pixels of the image; the next is {stride} pixels on\n")

    image = nn.init.uniform_(Tensor(np.empty((1, 3, size, size), np.float32)), -0.5, 0.5)
    with tinyfcn.no_grad():
        one_by_one, seconds_crops = timed(crop_by_crop, classifier, image)
        batch, seconds_batch = timed(all_at_once, classifier, image)
        scores, seconds_once = timed(in_one_pass, dense, image)

    count, classes = scores.shape
    side = math.isqrt(count)
    print(f"{size} x {size} image, {side} x {side} map of scores of {classes} classes")
    print(f"  {count} crops, one by one    {1000 * seconds_crops:7.0f} ms")
    print(f"  {count} crops, as one batch  {1000 * seconds_batch:7.0f} ms")
    print(f"  one pass             {1000 * seconds_once:7.0f} ms")
    ratio = min(seconds_crops, seconds_batch) / seconds_once
    print(f"  one pass is {ratio:.1f} times faster (the paper: more than 5 times)")
    difference = max(np.abs(scores - one_by_one).max(), np.abs(scores - batch).max())
    largest = np.abs(scores).max()
    print(f"  largest difference {difference:.1e}, where scores are up to {largest:.1f}")


if __name__ == "__main__":
    parser = Parser(__doc__.splitlines()[0])
    add = parser.add_argument
    text = f"side of the image, {CROP} or more (default 384)"
    add("--size", type=integer(CROP), default=384, help=text)
    add("--seed", type=integer(0), default=0, help="of weights and image (default 0)")
    with plain_errors():
        options = parser.parse(sys.argv[1:])
        main(options.size, options.seed)
