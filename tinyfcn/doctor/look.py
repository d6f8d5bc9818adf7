"""What can be seen of a sample without learning from it; and the sum of that over a data set."""

from __future__ import annotations

import contextlib
import functools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tinyfcn.data import VOID, DataError, SegmentationDataset
from tinyfcn.data.conventions import as_seen, borders, check_sample, counted
from tinyfcn.data.image_file import READERS
from tinyfcn.doctor.pairs import SIDE, from_afar

FORMATS = [name.upper() for name in READERS.values()]
# Pixels; lines of void around objects, as VOC has them, are not much wider than twice that.
DEEP = 3
ENOUGH = 64  # masks, for a quick look

Seen = tuple[NDArray[np.int64], bytes, dict[str, str]]


class Part:
    """A list of the data, and what was seen of its samples so far.

    What there is of each sample lies in one array for all: of ten thousand small ones, made between
    large images, each would keep the memory of an image from being used again.

    Attributes:
        dataset: the samples.
        name: of the list.
        classes: the names of the classes.
        table: the label of each value in a mask file, (256,); ``named`` if somebody gave one.
        where: the folder of the masks.
        seen: the places of the samples that can be used.
        errors: why others cannot, by their place.
        counts: of each place the pixels of each value, (N, 256).
        afar: of each place what tells whether image and mask belong together, see ``pairs.py``.
        palettes: the places of the masks of each, RGB one after the other; empty if they have none.
        kinds: of "images" and "masks" how often each kind occurs, such as "PNG P", and of "size"
            each, such as "500 x 375", the width first; of masks alone in a quick look.
        pixels, deep: of each value in what was seen, and those of them with no other value within
            ``DEEP`` pixels, (256,).
    """

    def __init__(self, dataset: SegmentationDataset, name: str = "") -> None:
        self.dataset, self.name, self.classes = dataset, name, dataset.classes
        self.table = np.arange(256, dtype=np.uint8) if dataset.table is None else dataset.table
        self.named, self.where = dataset.table is not None, dataset.files[0][1].parent
        self.seen: list[int] = []
        self.errors: dict[int, DataError | OSError] = {}
        self.counts = np.zeros((len(dataset), 256), np.int64)
        self.afar = np.zeros((len(dataset), 3, SIDE, SIDE), np.uint8)
        self.palettes: dict[bytes, list[int]] = defaultdict(list)
        self.kinds: dict[str, Counter[str]] = defaultdict(Counter)
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
            found = pool.map(functools.partial(self._look, images=images), places)
            for place, one in zip(places, progress(found, total=len(places)), strict=True):
                if not isinstance(one, tuple):
                    self.errors[place] = one
                    continue
                deep, palette, kinds = one
                self.seen.append(place)
                self.pixels += self.counts[place]
                self.deep += deep
                self.palettes[palette].append(place)
                for what, kind in kinds.items():
                    self.kinds[what][kind] += 1
                if len(self.seen) >= enough and (self.strange or not self.missing):
                    break
        finally:
            pool.shutdown(cancel_futures=True)

    def _look(self, place: int, images: bool) -> Seen | DataError | OSError:
        """Look at a sample: its deep pixels, the palette of its mask and of what kinds it is, or
        why it cannot be used."""
        image_path, mask_path = self.dataset.files[place]
        try:
            values = self.dataset.values(place)
            kind, palette, _ = _header(mask_path)
            kinds, self.counts[place] = {"masks": kind}, counted(values)
            if images or _header(image_path)[2] not in (values.shape, values.shape[::-1]):
                labels = self.labels(values)
                image = self.dataset.image(place, labels.shape)
                check_sample(image, labels, len(self.classes), image_path, mask_path)
                height, width = labels.shape
                kinds.update(images=_header(image_path)[0], size=f"{width} x {height}")
                self.afar[place] = from_afar(as_seen(image), labels)
        except (DataError, OSError) as error:
            return error
        return _deep(values), palette, kinds

    def labels(self, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What values of a mask stand for; those that are strange are void."""
        return np.where(self.table < len(self.classes), self.table, np.uint8(VOID))[values]

    @property
    def names(self) -> NDArray[np.str_]:
        """Those of the samples that were seen."""
        return np.array(self.dataset.ids)[self.seen]

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

    def having(self, values: Sequence[int] | NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which of the masks that were seen hold any of these values, (len(seen),)."""
        return np.any(self.counts[self.seen][:, values], axis=1)

    def shares(self) -> Iterator[tuple[str, int, float, float]]:
        """Name and label of each class and of void, its share of the pixels and of the images."""
        for label, name in (*enumerate(self.classes), (VOID, "void")):
            those = self.table == label
            images = self.having(those).sum() / max(1, len(self.seen))
            yield name, label, self.pixels[those].sum() / max(1, self.pixels.sum()), images

    def about(self) -> list[str]:
        """How many samples there are, and where; of what kinds and sizes."""
        kind = type(self.dataset).__name__.removesuffix("Segmentation")
        folder = self.dataset.files[0][0].parent
        lines = [f"{self.name}: {len(self.dataset)} images in {folder} ({kind})"]
        for what in ("images", "masks", "size") if self.seen else ():
            kinds = self.kinds[what].most_common()
            some = [f"{kind} ({count})" for kind, count in kinds[:3]]
            more = f" and {len(kinds) - 3} others" if len(kinds) > 3 else ""
            lines.append(f"{what}: {', '.join(some)}{more}")
        return lines


def _header(path: Path) -> tuple[str, bytes, tuple[int, ...]]:
    """Format and mode of a file as Pillow names them, the palette of a PNG, height and width."""
    with contextlib.suppress(Exception), Image.open(path, formats=FORMATS) as image:
        palette = image.palette if image.format == "PNG" else None
        colours = palette.palette if palette and palette.mode == "RGB" else b""
        return f"{image.format} {image.mode}", bytes(colours), image.size[::-1]
    return path.suffix.lstrip("."), b"", ()


def _deep(values: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The pixels of each value that have no other, and no edge of the mask, within ``DEEP`` pixels,
    but for a corner, (256,).

    >>> [_deep(np.zeros(size, np.uint8))[0].item() for size in ((7, 9), (6, 90))]
    [3, 0]
    """
    near = borders(values)
    near[[0, -1]] = near[:, [0, -1]] = True
    for _ in range(DEEP - 1):
        for rows in (near, near.T):  # each pixel takes what those before and behind it have
            rows[1:] |= rows[:-1]
            rows[:-1] |= rows[1:]
    return np.array(Image.fromarray(values).histogram(Image.fromarray(~near)))
