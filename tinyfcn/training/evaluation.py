"""Prediction and scores of a model on images of any size."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tinyfcn
from tinyfcn import backend, visualize
from tinyfcn.data import DataError, Preprocessing, Sample, SegmentationDataset
from tinyfcn.metrics import ConfusionMatrix, Scores
from tinyfcn.models.network import as_network
from tinyfcn.nn import Module
from tinyfcn.parallel import Group
from tinyfcn.training import report
from tinyfcn.training.overlap_tile import overlap_tile, tile_for
from tinyfcn.without_values import evaluating

# Of the images that are scored at once, whatever batches the memory of a training allows: eight of
# 128 x 128, which is faster than one by one, but one of 375 x 500.
PIXELS = 1 << 17
AT_ONCE = 8
SHEET_ROWS = 6  # images on the sheet of predictions


def predict(
    model: Module, images: Sequence[NDArray[np.uint8]], preprocessing: Preprocessing
) -> NDArray[np.uint8]:
    """The most likely class of each pixel.

    Args:
        model: gives logits (N, C, H, W) for images (N, 3, H, W); one that has a ``margin`` without
            scores, as U-Net without padding, is run in windows, see
            :mod:`tinyfcn.training.overlap_tile`. It runs as ``model.eval()`` and is left in the
            mode it was in.
        images: N images of the same size, uint8 RGB (H, W, 3).
        preprocessing: what the model was trained with.

    Returns:
        Class indices, uint8 (N, H, W).

    Raises:
        DataError: if a logit is NaN.
    """
    batch = np.stack([preprocessing.apply(image) for image in images])
    margin = as_network(model).margin
    x = tinyfcn.tensor(batch)
    with evaluating(model):
        if margin:
            logits = overlap_tile(model, x, tile_for(model, *batch.shape[2:]), margin)
        else:
            logits = model(x)
    if logits.shape[2:] != batch.shape[2:]:
        raise ValueError(
            f"predict: the model gave logits {logits.shape} for images {batch.shape}; "
            "height and width must be equal"
        )
    if np.isnan(logits.data.min()):
        raise DataError(
            "predict: the network gave NaN, which is no class; its weights, or what it was shown, "
            "are beyond float32"
        )
    return backend.to_numpy(logits.data.argmax(axis=1)).astype(np.uint8)


def evaluate(
    model: Module,
    dataset: Iterable[Sample],
    num_classes: int,
    preprocessing: Preprocessing,
    batch_size: int = AT_ONCE,
    on_batch: Callable[[list[Sample], NDArray[np.uint8]], None] | None = None,
    group: Group | None = None,
) -> Scores:
    """Scores over a whole data set, each image at its own size.

    Args:
        model: as for :func:`predict`.
        dataset: samples of image and mask.
        num_classes: C.
        preprocessing: what the model was trained with.
        batch_size: of so many neighbours in the data set those of the same size go through the
            model at once, but no more than ``PIXELS`` pixels unless one image has more; images
            are never padded or resized, so scores depend on it by rounding only.
        on_batch: called with the samples of each batch and their predictions, (N, H, W).
        group: the ranks, each of which gives its part of the data set; all get the same scores.

    Raises:
        ValueError: if a mask holds a label outside the classes; a DataError if there is no pixel
            that is not void.
    """
    matrix = ConfusionMatrix(num_classes)
    for samples in _equal_sizes(dataset, batch_size):
        predictions = predict(model, [sample.image for sample in samples], preprocessing)
        matrix.update(predictions, np.stack([sample.mask for sample in samples]))
        if on_batch is not None:
            on_batch(samples, predictions)
    if group is not None:
        matrix.counts = np.sum(group.gather(matrix.counts), axis=0)
    if not matrix.counts.any():
        raise DataError("evaluate: the data set has no pixel that is not void")
    return matrix.scores()


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
    pixels = np.zeros(num_classes)
    present = np.zeros(num_classes)
    for mask in masks:
        counts = np.bincount(mask[mask != 255], minlength=num_classes)
        pixels += counts
        present += np.where(counts > 0, mask.size, 0)
    seen = pixels > 0
    if not seen.any():
        raise DataError("median_frequency_weights: the masks have no pixel that is not void")
    frequency = pixels[seen] / present[seen]
    weights = np.zeros(num_classes, np.float32)
    weights[seen] = np.median(frequency) / frequency
    return weights


def evaluate_shared(
    model: Module,
    dataset: SegmentationDataset,
    preprocessing: Preprocessing,
    group: Group,
    each_sample: Callable[[], None] = lambda: None,
) -> tuple[Scores, list[visualize.Triple]]:
    """Scores over a data set that is shared out to ranks, with a progress bar.

    What goes through the model at once is the same for any number of ranks.

    Args:
        model, dataset, preprocessing: as for :func:`evaluate`.
        group: the ranks.
        each_sample: called after each, on all ranks equally often.

    Returns:
        The scores, and a few images with mask and prediction; on all ranks.
    """
    places = np.linspace(0, len(dataset) - 1, SHEET_ROWS)
    wanted = {dataset.ids[round(place)] for place in places}
    sheet: dict[str, visualize.Triple] = {}
    first, own = (
        [i for start in range(AT_ONCE * rank, len(dataset), AT_ONCE * group.size)
         for i in range(start, min(start + AT_ONCE, len(dataset)))]
        for rank in (0, group.rank)
    )  # fmt: skip

    def part() -> Iterator[Sample]:
        yield from (dataset[i] for i in own)
        for _ in first[len(own) :]:
            each_sample()

    def collect(samples: list[Sample], predictions: NDArray[np.uint8]) -> None:
        for sample, prediction in zip(samples, predictions, strict=True):
            if sample.id in wanted:
                sheet[sample.id] = sample.image, sample.mask, prediction
            each_sample()

    samples = report.bar(part(), total=len(own), desc="evaluation")
    scores = evaluate(
        model, samples, dataset.num_classes, preprocessing, on_batch=collect, group=group
    )
    found = dict(collections.ChainMap(*group.gather(sheet)))
    return scores, [found[name] for name in dataset.ids if name in found]


def _equal_sizes(dataset: Iterable[Sample], most: int) -> Iterator[list[Sample]]:
    """The samples in order, in lists of equal size; each is of the same ``most`` neighbours."""
    samples = iter(dataset)
    while near := list(itertools.islice(samples, most)):
        for (height, width), equal in itertools.groupby(near, key=lambda s: s.mask.shape):
            size = max(1, PIXELS // (height * width))
            while group := list(itertools.islice(equal, size)):
                yield group
