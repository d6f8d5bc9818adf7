"""What a mask holds, counted; and the sum of that over many masks."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tinyfcn.data.dataset import SegmentationDataset
from tinyfcn.data.palette import VOID

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
DEEP = (
    3  # pixels; lines of void around objects, as VOC has them, are not much wider than twice that
)


class Facts(NamedTuple):
    """What was seen of one sample.

    Attributes:
        place: of the sample.
        counts: pixels of each value in its mask file, (256,).
        deep_void: void pixels with nothing else within ``DEEP`` pixels.
        deep_strange: the same of pixels that are neither a class nor void.
        palette: the colours of its values, RGB one after the other; empty if it has none.
    """

    place: int
    counts: NDArray[np.int64]
    deep_void: int
    deep_strange: int
    palette: bytes


class Tally:
    """The sum of what was seen of many masks.

    Attributes:
        classes: the names of the classes.
        table: the label of each value in a mask file, (256,).
        where: the folder of the masks.
        pixels: of each value, (256,).
        images: masks with each label, (256,).
        deep_void, deep_strange: as of :class:`Facts`.
        palettes: how many masks have which.
        odd: the file of the first mask with a value that is neither a class nor void, or "".
    """

    def __init__(self, dataset: SegmentationDataset) -> None:
        self.classes = dataset.classes
        self.named = dataset.table is not None
        self.table = np.arange(256, dtype=np.uint8) if dataset.table is None else dataset.table
        self.where = dataset.files[0][1].parent
        self.pixels, self.images = np.zeros((2, 256), np.int64)
        self.deep_void = self.deep_strange = 0
        self.masks, self.odd = [mask.name for _, mask in dataset.files], ""
        self.palettes: Counter[bytes] = Counter()

    def add(self, facts: Facts) -> None:
        """Count a mask."""
        self.pixels += facts.counts
        self.odd = self.odd or self.masks[facts.place] * bool(self.strange)
        self.images[np.unique(self.table[facts.counts > 0])] += 1
        self.deep_void += facts.deep_void
        self.deep_strange += facts.deep_strange
        self.palettes[facts.palette] += 1

    @property
    def values(self) -> list[int]:
        """The values that occur."""
        return np.flatnonzero(self.pixels).tolist()

    @property
    def strange(self) -> list[int]:
        """Values that are neither a class nor void."""
        return [v for v in self.values if len(self.classes) <= self.table[v] != VOID]

    @property
    def labels(self) -> NDArray[np.int64]:
        """Pixels of each class; the last is void, (classes + 1,)."""
        known = np.where(self.table == VOID, len(self.classes), self.table)
        return np.bincount(known, self.pixels, 256)[: len(self.classes) + 1].astype(np.int64)

    @property
    def missing(self) -> list[str]:
        """Classes that never occur."""
        return [name for name, n in zip(self.classes, self.labels, strict=False) if not n]


def look_at(
    dataset: SegmentationDataset, indices: Iterable[int], workers: int = 2
) -> Iterator[Facts]:
    """The facts of some samples, in order; read by threads."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="tinyfcn-doctor")
    try:
        yield from pool.map(lambda index: facts_of(dataset, index, dataset.values(index)), indices)
    finally:
        pool.shutdown(cancel_futures=True)


def facts_of(dataset: SegmentationDataset, index: int, values: NDArray[np.uint8]) -> Facts:
    """The facts of a sample whose mask holds these values, (H, W)."""
    values = values.astype(np.uint8, copy=False)
    counts = np.bincount(values.ravel(), minlength=256)
    labels = values if dataset.table is None else dataset.table[values]
    void = labels == VOID
    strange = (labels >= dataset.num_classes) & ~void
    palette = header(dataset.files[index][1])[1]
    return Facts(index, counts, _deep(void), _deep(strange), palette)


def header(path: Path) -> tuple[str, bytes]:
    """Format and mode of a file as Pillow names them, and the palette of a PNG."""
    with contextlib.suppress(Exception), Image.open(path, formats=FORMATS) as image:
        palette = image.palette if image.format == "PNG" else None
        colours = palette.palette if palette and palette.mode == "RGB" else b""
        return f"{image.format} {image.mode}", bytes(colours)
    return path.suffix.lstrip("."), b""


def _deep(area: NDArray[np.bool_]) -> int:
    """The pixels from which ``DEEP`` steps in any direction stay in the area.

    >>> _deep(np.ones((7, 9), bool)), _deep(np.ones((6, 90), bool))
    (3, 0)
    """
    for _ in range(DEEP if area.any() else 0):
        area = area[1:-1] & area[:-2] & area[2:]
        area = area[:, 1:-1] & area[:, :-2] & area[:, 2:]
    return int(area.sum())
