"""Prediction and scores of a model on images of any size."""

from __future__ import annotations

import collections
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tinyfcn
from tinyfcn import Tensor, backend, visualize
from tinyfcn import functional as F
from tinyfcn.data import DataError, Preprocessing, Resize, Sample, SegmentationDataset
from tinyfcn.data.conventions import as_seen
from tinyfcn.data.transforms import fitted, resized
from tinyfcn.metrics import ConfusionMatrix, Scores
from tinyfcn.metrics import scores as scores_of
from tinyfcn.nn import Module
from tinyfcn.parallel import Group
from tinyfcn.training import report
from tinyfcn.training.overlap_tile import Plan, plan, tiles

# Of the images that are scored at once, whatever batches the memory of a training allows: eight of
# 128 x 128, which is faster than one by one, but one of 375 x 500.
PIXELS = 1 << 17
AT_ONCE = 8
SHEET_ROWS, WORST = 6, 8  # images on the sheet of predictions, and in a report
SIDE = 400  # of each, in pixels at most


@dataclass(frozen=True)
class Evaluation:
    """What was found out about a data set.

    Attributes:
        scores: over the whole set.
        images: of each id pixel accuracy, mean IU and the IU of each class; NaN where undefined.
        sheet: a few images with mask and prediction, at most ``SIDE`` large.
        worst: those of the lowest mean IU, worst first, by their ids.
    """

    scores: Scores
    images: dict[str, list[float]]
    sheet: list[visualize.Triple]
    worst: dict[str, visualize.Triple]


def predict(
    model: Module,
    images: Sequence[NDArray[Any]],
    preprocessing: Preprocessing,
    max_memory: float | None = None,
    progress: bool = False,
) -> NDArray[np.uint8]:
    """The most likely class of each pixel.

    Args:
        model: gives scores (N, C, H, W) for images (N, 3, H, W), or for all but its ``margin``. It
            runs as ``model.eval()`` and is left in the mode it was in.
        images: N images of the same size, as ``preprocessing`` reads them: uint8 RGB (H, W, 3).
        preprocessing: what the model was trained with; where that resized images, these are too,
            and their labels brought back to the size of the images.
        max_memory: bytes that a pass may take; where it would take more, images are labelled in
            tiles: see :func:`tinyfcn.training.overlap_tile.plan`.
        progress: whether a bar counts the tiles.

    Returns:
        Class indices, uint8 (N, H, W).

    Raises:
        DataError: if a score is NaN, or the memory does not suffice.
    """
    return label(model, images, preprocessing, max_memory, progress)[0]


def label(
    model: Module,
    images: Sequence[NDArray[Any]],
    preprocessing: Preprocessing,
    max_memory: float | None = None,
    progress: bool = False,
    most: float = 0,
) -> tuple[NDArray[np.uint8], Plan, NDArray[np.float32] | None]:
    """As :func:`predict`; with the tiles, and, where they are ``most`` at most, how likely each
    class is at each pixel of the first image, float32 (C, H, W)."""
    size = images[0].shape[:2]
    if preprocessing.resize:
        seen = Resize(preprocessing.resize).shape(*size)
        images = [resized(image, *seen) for image in images]
    shape = len(images), images[0].shape[2], *images[0].shape[:2]

    def read(rows: NDArray[Any], columns: NDArray[Any]) -> Tensor:
        parts = [image.take(rows, 0).take(columns, 1) for image in images]
        return tinyfcn.tensor(np.stack([preprocessing.apply(part) for part in parts]))

    way = plan(model, shape, max_memory)
    masks = np.empty((len(images), *way.size), np.uint8)
    hidden, likely = way.tiles == 1 or not progress, None
    for (rows, columns), scores in report.bar(
        tiles(model, read, way), total=way.tiles, unit=" tiles", desc="tiles", disable=hidden
    ):
        masks[:, rows, columns] = backend.to_numpy(scores.argmax(axis=1))
        if way.tiles <= most:
            part = F.softmax(Tensor(scores[:1]), 1).numpy()[0]
            likely = np.empty((len(part), *way.size), np.float32) if likely is None else likely
            likely[:, rows, columns] = part
    if preprocessing.resize:
        masks = np.stack([resized(mask, *size) for mask in masks])
        if likely is not None:
            likely = np.stack([resized(plane, *size) for plane in likely])
    return masks, way, likely


def evaluate(
    model: Module,
    dataset: SegmentationDataset,
    preprocessing: Preprocessing,
    group: Group | None = None,
    each_sample: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Scores over a whole data set, each image at its own size, with a progress bar.

    Neighbours of the same size go through the model at once, ``AT_ONCE`` and ``PIXELS`` at most;
    images are never padded. These are the same for any number of ranks.

    Args:
        model: as for :func:`predict`.
        dataset: its images are shared out to the ranks.
        preprocessing: what the model was trained with.
        group: the ranks, all of which get the same; None for this process alone.
        each_sample: called after each, on all ranks equally often.

    Raises:
        ValueError: if a mask holds a label outside the classes; a DataError if there is no pixel
            that is not void.
    """
    group = group or Group()
    places = np.linspace(0, len(dataset) - 1, SHEET_ROWS)
    wanted = {dataset.ids[round(place)] for place in places if len(dataset)}
    first, own = (
        [i for start in range(AT_ONCE * rank, len(dataset), AT_ONCE * group.size)
         for i in range(start, min(start + AT_ONCE, len(dataset)))]
        for rank in (0, group.rank)
    )  # fmt: skip
    total = ConfusionMatrix(dataset.num_classes)
    images: dict[str, list[float]] = {}
    pictures: dict[str, visualize.Triple] = {}

    def poorest(names: Iterable[str]) -> list[str]:
        known = [(images[name][1], name) for name in names if not math.isnan(images[name][1])]
        return [name for _, name in sorted(known)[:WORST]]

    samples = _labelled(model, (dataset[i] for i in own), preprocessing)
    for sample, prediction in report.bar(samples, total=len(own), desc="evaluation"):
        matrix = ConfusionMatrix(dataset.num_classes)
        matrix.update(prediction, sample.mask)
        total.counts += matrix.counts
        one = scores_of(matrix.counts)
        images[sample.id] = [one.pixel_accuracy, one.mean_iu, *one.iu.tolist()]
        shown = {*wanted, *poorest({*pictures, sample.id})}
        if sample.id in shown:
            pictures[sample.id] = fitted(SIDE, as_seen(sample.image), sample.mask, prediction)
            pictures = {name: pictures[name] for name in pictures if name in shown}
        each_sample()
    for _ in first[len(own) :]:
        each_sample()
    counts, *found = zip(*group.gather((total.counts, images, pictures)), strict=True)
    images, pictures = (dict(collections.ChainMap(*dicts)) for dicts in found)
    total.counts = np.sum(counts, axis=0)
    if not total.counts.any():
        raise DataError("evaluate: the data set has no pixel that is not void")
    return Evaluation(
        total.scores(),
        {name: images[name] for name in dataset.ids},
        [pictures[name] for name in dataset.ids if name in wanted],
        {name: pictures[name] for name in poorest(pictures)},
    )


def _labelled(
    model: Module, samples: Iterator[Sample], preprocessing: Preprocessing
) -> Iterator[tuple[Sample, NDArray[np.uint8]]]:
    """Each sample and its prediction."""
    while near := list(itertools.islice(samples, AT_ONCE)):
        for (height, width), equal in itertools.groupby(near, key=lambda s: s.mask.shape):
            size = max(1, PIXELS // (height * width))
            while some := list(itertools.islice(equal, size)):
                images = [sample.image for sample in some]
                yield from zip(some, predict(model, images, preprocessing), strict=True)
