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

import sys
import time
from collections.abc import Callable

import numpy as np

import tinyfcn
from tinyfcn import Tensor, models, nn
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


def crop_by_crop(classifier: nn.Module, image: Tensor) -> np.ndarray:
    """Classify every crop, each on its own: (classes, rows, columns)."""
    steps = range(0, image.shape[2] - CROP + 1, STEP)
    scores = [
        [classifier(image[:, :, i : i + CROP, j : j + CROP]).numpy()[0] for j in steps]
        for i in steps
    ]
    return np.array(scores).transpose(2, 0, 1)


def all_at_once(classifier: nn.Module, image: Tensor) -> np.ndarray:
    """Classify all crops as one batch, which uses the machine better: (classes, rows, columns)."""
    steps = range(0, image.shape[2] - CROP + 1, STEP)
    crops = [image.data[0, :, i : i + CROP, j : j + CROP] for i in steps for j in steps]
    scores = classifier(Tensor(np.stack(crops))).numpy()
    return scores.reshape(len(steps), len(steps), -1).transpose(2, 0, 1)


def in_one_pass(dense: nn.Module, image: Tensor) -> np.ndarray:
    """Run the convolutionalized classifier once: (classes, rows, columns)."""
    scores: np.ndarray = dense(image).numpy()[0]
    return scores


def timed(fn: Callable[..., np.ndarray], *arguments: object) -> tuple[np.ndarray, float]:
    """The result, and the best of three times in seconds."""
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        result = fn(*arguments)
        seconds.append(time.perf_counter() - start)
    return result, min(seconds)


def main(size: int, seed: int) -> None:
    """Compare the three ways on a random image of ``size`` × ``size`` pixels."""
    tinyfcn.manual_seed(seed)
    classifier = alexnet_without_padding().eval()
    dense = models.convolutionalize(classifier)
    field, stride = models.geometry.receptive_field(dense)
    print(
        f"the classifier's fully connected layers, as convolutions:\n  {dense[12]}\n  {dense[14]}"
    )
    print(f"one score sees {field} x {field} pixels of the image; the next is {stride} pixels on\n")

    pixels = np.random.default_rng(seed).random((1, 3, size, size), dtype=np.float32)
    image = Tensor(pixels - 0.5)
    with tinyfcn.no_grad():
        crops, seconds_crops = timed(crop_by_crop, classifier, image)
        batch, seconds_batch = timed(all_at_once, classifier, image)
        scores, seconds_once = timed(in_one_pass, dense, image)

    _, rows, columns = scores.shape
    print(f"{size} x {size} image, {rows} x {columns} map of scores of {len(scores)} classes")
    print(f"  {rows * columns} crops, one by one    {1000 * seconds_crops:7.0f} ms")
    print(f"  {rows * columns} crops, as one batch  {1000 * seconds_batch:7.0f} ms")
    print(f"  one pass             {1000 * seconds_once:7.0f} ms")
    ratio = min(seconds_crops, seconds_batch) / seconds_once
    print(f"  one pass is {ratio:.1f} times faster (the paper: more than 5 times)")
    difference = max(np.abs(scores - crops).max(), np.abs(scores - batch).max())
    largest = np.abs(scores).max()
    print(f"  largest difference {difference:.1e}, where scores are up to {largest:.1f}")


if __name__ == "__main__":
    parser = Parser(__doc__.splitlines()[0])
    parser.add_argument(
        "--size", type=integer(CROP), default=384,
        help=f"side of the image, {CROP} or more (default 384)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=integer(0), default=0, help="of weights and image (default 0)"
    )
    arguments = parser.parse(sys.argv[1:])
    with plain_errors():
        main(arguments.size, arguments.seed)
