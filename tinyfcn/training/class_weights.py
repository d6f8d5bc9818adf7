"""Weights of the classes in the loss: from how often they occur, or one's own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfcn.data import VOID, DataError
from tinyfcn.training.model_spec import class_list


def class_weights(
    how: str, masks: Iterable[NDArray[Any]], classes: Sequence[str]
) -> NDArray[np.float32] | None:
    """What ``--class-weights`` asks for.

    Args:
        how: "none", "median-frequency", "enet", or weights by name, ``cat=2,dog=0.5``; those of
            classes that are not named are 1.
        masks: class indices (H, W) of each image; looked at only where they are needed.
        classes: their names.

    Raises:
        DataError: for a name that no class has, or masks without a pixel that counts.

    Example:
        >>> class_weights("dog=3", [], ["background", "cat", "dog"])
        array([1., 1., 3.], dtype=float32)
    """
    if how in FREQUENCY:
        return FREQUENCY[how](masks, len(classes))
    own = own_weights(how)
    if unknown := own.keys() - {*classes}:
        raise DataError(f"class weights: {min(unknown)!r} is none of {class_list(classes)}")
    return np.array([own.get(name, 1.0) for name in classes], np.float32) if own else None


def own_weights(text: str) -> dict[str, float]:
    """``cat=2,dog=0.5`` by name; of "none" nothing.

    Raises:
        ValueError: if the text is nothing of the kind, or a weight is not in 0 … 10⁶.
    """
    own = {}
    for part in () if text == "none" else text.split(","):
        name, equals, weight = (word.strip() for word in part.rpartition("="))
        if not equals or not 0 <= float(weight) <= 1e6 or name in own:
            raise ValueError(f"expected name=weight, got {part!r}")
        own[name] = float(weight)
    return own


def median_frequency_weights(
    masks: Iterable[NDArray[Any]], num_classes: int
) -> NDArray[np.float32]:
    """Class weights that balance rare and frequent classes.

    freq(c) is the number of pixels of class c divided by the number of all pixels, void included,
    of the images where c is present; the weight of c is the median of the frequencies divided by
    freq(c). A class that never occurs gets weight 0.

    Source: Eigen and Fergus, ICCV 2015, section 6.3.2; as SegNet uses it (Badrinarayanan, Kendall,
    Cipolla, TPAMI 2017, section 4). The list of weights published with SegNet's files is not what
    this gives for CamVid's labels (SignSymbol 9.64 there, 3.85 here).

    Args:
        masks: class indices (H, W) of each image, 255 for void.
        num_classes: C.

    Returns:
        The weights, float32 (C,).

    Example:
        >>> median_frequency_weights([np.array([[0, 0, 1, 255]]), np.array([[0, 0, 0, 0]])], 2)
        array([0.6666667, 2.       ], dtype=float32)
    """
    pixels, present = _counted(masks, num_classes)
    frequency = np.where(pixels, pixels / np.maximum(present, 1), np.inf)
    return (np.median(frequency[pixels > 0]) / frequency).astype(np.float32)


def enet_weights(masks: Iterable[NDArray[Any]], num_classes: int) -> NDArray[np.float32]:
    """Class weights between 1.4 and 50, so that rare classes do not outweigh all else.

    With p(c) the share of class c in all pixels that are not void, its weight is
    1 / ln(1.02 + p(c)).

    Source: Paszke, Chaurasia, Kim, Culurciello, "ENet", 2016, section 5.2.

    Args and returns as for :func:`median_frequency_weights`.

    Example:
        >>> enet_weights([np.array([[0, 0, 0, 1, 255]])], 2).round(2)
        array([1.75, 4.18], dtype=float32)
    """
    pixels, _ = _counted(masks, num_classes)
    return (1 / np.log(1.02 + pixels / pixels.sum())).astype(np.float32)


def _counted(masks: Iterable[NDArray[Any]], num_classes: int) -> NDArray[np.float64]:
    """For each class its pixels, and all pixels of the images where it is: (2, C)."""
    counted = np.zeros((2, num_classes))
    for mask in masks:
        pixels = np.bincount(mask[mask != VOID], minlength=num_classes)
        counted += pixels, mask.size * (pixels > 0)
    if not counted.any():
        raise DataError("class weights: the masks have no pixel that is not void")
    return counted


FREQUENCY = {"median-frequency": median_frequency_weights, "enet": enet_weights}
