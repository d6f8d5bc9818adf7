"""What training changes about an image and its mask before it learns from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from tinyfcn import data
from tinyfcn.data.conventions import as_seen
from tinyfcn.data.transforms import Transform
from tinyfcn.models.network import as_network
from tinyfcn.nn import Module
from tinyfcn.visualize import sheet

_SHOWN, _EPOCHS, _HEIGHT = 4, 4, 192  # samples, epochs, pixels on the sheet of augmented samples

# What ``augment`` may name: the usual and the largest amount, and the transform, but for the two
# that are one, RandomWarp.
KINDS: dict[str, tuple[float, float, Callable[[float], Transform] | None]] = {
    "rotate": (15, 180, None),
    "elastic": (5, 64, None),
    "vertical-flip": (0.5, 1, data.RandomVerticalFlip),
    "turns": (0.75, 1, data.RandomTurn),
    "blur": (1, 100, data.RandomBlur),
    "noise": (0.05, 1, data.RandomNoise),
}
NONE = "none"
SOME = f"{NONE}, or some of " + ", ".join(
    f"{name}={usual:g} (to {largest:g})" for name, (usual, largest, _) in KINDS.items()
)


def amounts(augment: str) -> dict[str, float]:
    """How much of each augmentation a text asks for; one that it does not name is 0.

    Raises:
        ValueError: saying what may be asked for.

    Example:
        >>> [(name, amount) for name, amount in amounts("rotate=20,turns").items() if amount]
        [('rotate', 20.0), ('turns', 0.75)]
    """
    found = dict.fromkeys(KINDS, 0.0)
    for part in augment.split(",") if augment != NONE else ():
        name, given, amount = part.strip().partition("=")
        usual, largest, _ = KINDS.get(name, (0, -1, None))
        found[name] = float(amount) if given else usual
        if not 0 <= found[name] <= largest:
            raise ValueError(f"expected {SOME}, got {part!r}")
    return found


def augmented_sheet(loader: data.DataLoader, classes: Sequence[str]) -> Image.Image:
    """A few samples as they are, and as the first epochs of a training show them, masks laid over.

    Args:
        loader: of the training; its transform and its seed decide what is shown.
        classes: the name of each label.
    """
    last = len(loader.dataset) - 1
    rows = []
    for index in sorted({round(place) for place in np.linspace(0, last, _SHOWN)}):
        shown = loader.dataset[index], *(loader.sample(index, epoch) for epoch in range(_EPOCHS))
        rows.append([(as_seen(sample.image), sample.mask) for sample in shown])
    titles = ["as it is", *(f"epoch {epoch + 1}" for epoch in range(_EPOCHS))]
    return sheet(rows, classes, titles, _HEIGHT)


def augmentation(
    model: Module,
    crop: int | None = None,
    jitter: float = 0.0,
    colour_jitter: float = 0.0,
    flip: bool = True,
    augment: str = NONE,
    resize: tuple[int, ...] = (),
) -> data.Compose:
    """Transforms of training samples, in this order: scale, rotation and elastic deformation, crop,
    flips and turns, colours, blur, noise.

    A model that has a ``margin`` without scores, as U-Net without padding, gets images with one:
    mirrored beyond their border, and a crop that is as much larger. What is scored is the crop
    then, or a little more where the model does not have every size.

    Args:
        model: that is trained.
        crop: side of the windows; None takes whole images.
        jitter, colour_jitter: of :class:`~tinyfcn.data.RandomScale` and ``ColourJitter``.
        flip: mirror half of them.
        augment: more, as in ``"rotate=20,elastic,turns"``, see ``KINDS``.
        resize: of all images at first, see :class:`~tinyfcn.data.Resize`.
    """
    network = as_network(model)
    margin, window = network.margin, network.window
    amount = amounts(augment)
    size = window(crop) if crop else None
    cut: Transform | None = data.RandomCrop(size) if size else None
    if amount["rotate"] or amount["elastic"]:
        cut = data.RandomWarp(amount["rotate"], amount["elastic"], size)
    transforms: list[Transform | None] = [
        data.Resize(resize) if resize else None,
        data.RandomScale(1 - jitter, 1 + jitter) if jitter else None,
        data.MirrorBorder(margin, lambda n: window(max(n, crop or 1))) if margin else None,
        cut,
        data.RandomHorizontalFlip() if flip else None,
        data.ColourJitter(*[colour_jitter] * 3) if colour_jitter else None,
        *(make(amount[name]) for name, (_, _, make) in KINDS.items() if make and amount[name]),
    ]
    return data.Compose(*filter(None, transforms))
