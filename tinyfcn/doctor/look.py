"""What can be seen of a sample without learning from it; and the sum of that over a data set."""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tinyfcn.data import VOID, DataError, SegmentationDataset
from tinyfcn.data.conventions import as_seen, check_sample, counted
from tinyfcn.data.image_file import READERS
from tinyfcn.doctor.pairs import BLANK, Afar, from_afar

FORMATS = [name.upper() for name in READERS.values()]
# Pixels; lines of void around objects, as VOC has them, are not much wider than twice that.
DEEP = 3
ENOUGH = 64  # masks, for a quick look


class Seen(NamedTuple):
    """What was seen of one sample.

    Attributes:
        name: of the sample.
        place: its index.
        counts: pixels of each value in its mask file, (256,).
        deep: those of them with no other value within ``DEEP`` pixels.
        palette: the colours of the mask's values, RGB one after the other; empty if it has none.
        masks, images: how it is stored, such as "PNG P".
        size: such as "500 x 375", the width first.
        afar: what tells whether both belong together.

    The last three are known where the image was looked at too.
    """

    name: str
    place: int
    counts: NDArray[np.int64]
    deep: NDArray[np.int64]
    palette: bytes
    masks: str
    images: str = ""
    size: str = ""
    afar: Afar = BLANK


class Part:
    """A list of the data, and what was seen of its samples so far.

    Attributes:
        dataset: the samples.
        name: of the list.
        classes: the names of the classes.
        table: the label of each value in a mask file, (256,); ``named`` if somebody gave one.
        where: the folder of the masks.
        seen: the samples that can be used.
        errors: why others cannot, by their place.
        pixels, deep: of each value, (256,).
    """

    def __init__(self, dataset: SegmentationDataset, name: str = "") -> None:
        self.dataset, self.name, self.classes = dataset, name, dataset.classes
        self.table = np.arange(256, dtype=np.uint8) if dataset.table is None else dataset.table
        self.named, self.where = dataset.table is not None, dataset.files[0][1].parent
        self.seen: list[Seen] = []
        self.errors: dict[int, DataError | OSError] = {}
        self.pixels, self.deep = np.zeros((2, 256), np.int64)

    def look(
        self,
        places: Sequence[int],
        images: bool = True,
        workers: int = 2,
        progress: Callable[..., Iterable[Any]] = lambda samples, **options: samples,
    ) -> None:
        """Look at samples, in threads; if not at images, some suffice once every class was seen."""
        enough = len(places) if images else ENOUGH
        pool = ThreadPoolExecutor(workers, thread_name_prefix="tinyfcn-doctor")
        try:
            found = pool.map(lambda place: _look(self.dataset, place, images), places)
            for place, one in zip(places, progress(found, total=len(places)), strict=True):
                if isinstance(one, Seen):
                    self.seen.append(one)
                    self.pixels += one.counts
                    self.deep += one.deep
                else:
                    self.errors[place] = one
                if len(self.seen) >= enough and (self.strange or not self.missing):
                    break
        finally:
            pool.shutdown(cancel_futures=True)

    @property
    def values(self) -> list[int]:
        """The values that occur."""
        return np.flatnonzero(self.pixels).tolist()

    @property
    def strange(self) -> list[int]:
        """Values that are neither a class nor void."""
        return [v for v in self.values if len(self.classes) <= self.table[v] != VOID]

    @property
    def missing(self) -> list[str]:
        """Classes that never occur."""
        found = {*self.table[self.values].tolist()}
        return [name for label, name in enumerate(self.classes) if label not in found]

    def shares(self) -> Iterator[tuple[str, int, float, float]]:
        """Name and label of each class and of void, its share of the pixels and of the images."""
        for label, name in (*enumerate(self.classes), (VOID, "void")):
            those = self.table == label
            images = sum(one.counts[those].any() for one in self.seen) / max(1, len(self.seen))
            yield name, label, self.pixels[those].sum() / max(1, self.pixels.sum()), images

    def about(self) -> list[str]:
        """How many samples there are, and where; of what kinds and sizes."""
        kind = type(self.dataset).__name__.removesuffix("Segmentation")
        folder = self.dataset.files[0][0].parent
        lines = [f"{self.name}: {len(self.dataset)} images in {folder} ({kind})"]
        for what in ("images", "masks", "size") if self.seen else ():
            kinds = Counter(getattr(one, what) for one in self.seen).most_common()
            some = [f"{kind} ({count})" for kind, count in kinds[:3]]
            more = f" and {len(kinds) - 3} others" if len(kinds) > 3 else ""
            lines.append(f"{what}: {', '.join(some)}{more}")
        return lines


def _look(dataset: SegmentationDataset, place: int, images: bool) -> Seen | DataError | OSError:
    """What is seen of a sample, or why it cannot be used."""
    image_path, mask_path = dataset.files[place]
    try:
        values = dataset.values(place)
        masks, palette = _header(mask_path)
        seen = Seen(dataset.ids[place], place, counted(values), _deep(values), palette, masks)
        if not images:
            return seen
        labels = values if dataset.table is None else dataset.table[values]
        labels = np.where(labels < dataset.num_classes, labels, np.uint8(VOID))
        image = dataset.image(place, labels.shape)
        check_sample(image, labels, dataset.num_classes, image_path, mask_path)
    except (DataError, OSError) as error:
        return error
    size = f"{image.shape[1]} x {image.shape[0]}"
    afar = from_afar(seen.name, as_seen(image), labels)
    return seen._replace(images=_header(image_path)[0], size=size, afar=afar)


def _header(path: Path) -> tuple[str, bytes]:
    """Format and mode of a file as Pillow names them, and the palette of a PNG."""
    with contextlib.suppress(Exception), Image.open(path, formats=FORMATS) as image:
        palette = image.palette if image.format == "PNG" else None
        colours = palette.palette if palette and palette.mode == "RGB" else b""
        return f"{image.format} {image.mode}", bytes(colours)
    return path.suffix.lstrip("."), b""


def _deep(values: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The pixels of each value from which ``DEEP`` steps in any direction lead to no other, (256,).

    >>> [_deep(np.zeros(size, np.uint8))[0].item() for size in ((7, 9), (6, 90))]
    [3, 0]
    """
    if min(values.shape) <= 2 * DEEP:
        return np.zeros(256, np.int64)
    along = _all_of((values[:, 1:] == values[:, :-1]).T, 2 * DEEP).T  # of a row
    middle = values[:, DEEP:-DEEP]
    deep = along[: -2 * DEEP] & _all_of(along[1:] & (middle[1:] == middle[:-1]), 2 * DEEP)
    return np.array(Image.fromarray(middle[DEEP:-DEEP]).histogram(Image.fromarray(deep)))


def _all_of(flags: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    """Whether so many rows hold, from each on."""
    last = len(flags) - count + 1
    return functools.reduce(np.logical_and, (flags[i : last + i] for i in range(count)))
