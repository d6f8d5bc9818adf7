"""Finds images and their masks in a folder as people have it, by the names of files and folders.

Words in a name, between separators, say what is an image and what a mask: ``images``,
``JPEGImages``, ``masks``, ``labels``, ``SegmentationClass``, ``trainannot``, ``_mask``, ``_seg``. A
path without such words and without its ending is the name of a sample: ``images/a.jpg`` and
``masks/a_mask.png`` are of ``a``, ``train/images/b.jpg`` and ``labels/train/b.png`` of ``train/b``.
"""

from __future__ import annotations

import functools
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath, PurePosixPath
from typing import NamedTuple
from unicodedata import normalize

from tinyfcn.data.conventions import DataError

MOST_FOLDERS = 16  # before a name
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif")
# Of two masks of a sample, that is taken whose word stands first here.
MASK_WORDS = (
    "segmentationclass", "segmentationclass(?:png|raw)", "segmentationclassaug", "labelids",
    "labeltrainids", "masks?", "labels?", "segmentations?|seg", "annotations?|annots?|anns?",
    "ground[ _-]?truths?|gt|gtfine|gtcoarse", "targets?", "stuffthingmaps",
    "label(?:ed)?approved",
)  # fmt: skip
IMAGE_WORDS = ("jpegimages", "images?", "imgs?", "photos?", "leftimg8bit", "sat")
# Neither: single objects, masks to look at, what networks answered.
OTHER_WORDS = (
    "segmentationobject(?:png)?", "segmentation(?:class|object)visualization", "instanceids",
    "colou?r(?:ed)?", "overlays?", "predictions?",
)  # fmt: skip


def _pattern(*words: str) -> re.Pattern[str]:
    """One of the words, between separators."""
    return re.compile(rf"(?i)(?:^|[ _.-])(?:{'|'.join(words)})(?=$|[ _.-])")


_MASK, _IMAGE = [_pattern(words) for words in MASK_WORDS], _pattern(*IMAGE_WORDS)
_OTHER, _ANY = _pattern(*OTHER_WORDS), _pattern(*MASK_WORDS, *IMAGE_WORDS, "(?-i:L)")  # CamVid's


class Name(NamedTuple):
    """What the path of a file says."""

    path: Path
    whole: str  # without the words in its folders and its ending: the sample
    bare: str  # also without the words in the file's own name
    role: str  # what its folders say: image, mask, or nothing
    ranks: tuple[int, ...]  # of the words for masks


def read_name(path: PurePath, root: PurePath) -> Name:
    """What the path of a file below ``root`` says.

    >>> read_name(Path("d/train/labels/a_mask.png"), Path("d"))[1:4]
    ('train/a_mask', 'train/a', 'mask')
    """
    folders = [re.sub("annot$", "_annot", part) for part in path.relative_to(root).parts[:-1]]
    role, ranks = "", _ranks(path.stem)
    for folder in folders:  # the one nearest to the file decides
        found = _ranks(folder)
        role = "mask" if found else "image" if _IMAGE.search(folder) else role
        ranks += found
    clean = [*map(_without_words, folders)]
    return Name(
        Path(path), sample_name(*clean, path.stem), sample_name(*clean, _without_words(path.stem)),
        role, ranks,
    )  # fmt: skip


def sample_name(*parts: str) -> str:
    """Parts of a path with slashes, in one of the two forms that Unicode has for ``ü``."""
    return normalize("NFC", "/".join(filter(None, parts)))


@functools.lru_cache(4096)
def _ranks(name: str) -> tuple[int, ...]:
    return tuple(rank for rank, word in enumerate(_MASK) if word.search(name))


@functools.lru_cache(4096)
def _without_words(name: str) -> str:
    return _ANY.sub("", name).strip(" _.-") if _ANY.search(name) else name


def files_below(root: Path, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> Iterator[Path]:
    """The files of some endings in a folder and below, in order; none hidden, none of a run."""
    seen = set()
    for folder, below, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen or "run.lock" in files:  # a link leads back; a training wrote it
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(name for name in below if not name.startswith((".", "__MACOSX")))
        for name in sorted(files + below):  # a folder of such a name is refused where it is read
            if name.lower().endswith(tuple(suffixes)) and not name.startswith("."):
                yield Path(folder, name)


class Found(NamedTuple):
    """What lies in a folder: images and masks by the names of their samples."""

    root: Path
    images: dict[str, Path]
    masks: dict[str, Path]


class Finder:
    """Finds the sample that a path means: that of a mask, in a line of a list, in a JSON file.

    Words, endings and folders that nobody knows do not matter; what could be of several is of none.

    Example:
        >>> find = Finder(Path("d"), {"train/a": Path("d/train/images/a.jpg")})
        >>> [find(text) for text in ("train/a", "a.jpg", "/home/me/d/train/images/a.jpg", "b/a")]
        ['train/a', 'train/a', 'train/a', None]
    """

    def __init__(self, root: Path, images: Mapping[str, Path]) -> None:
        self.root, self.images = root, images
        self._short: dict[str, str | None] = {}  # without words, without folders; None: of several
        for name, path in images.items():
            for short in {read_name(path, root).bare, name.rpartition("/")[2]}:
                self._short[short] = None if short in self._short else name

    def __call__(self, text: str) -> str | None:
        """The sample, or None."""
        if (text := sample_name(text)) in self.images:
            return text
        if not text.lower().endswith(IMAGE_SUFFIXES):
            text += IMAGE_SUFFIXES[0]
        path = PurePosixPath(text.replace("\\", "/").lstrip("/"))
        return self.of(read_name(PurePosixPath(*path.parts[-MOST_FOLDERS:]), PurePosixPath()))

    def of(self, name: Name) -> str | None:
        """The sample of a name that was read."""
        for key in (name.whole, name.bare):
            parts = key.split("/")
            for start in range(len(parts)):
                if (short := "/".join(parts[start:])) in self.images:
                    return short
        return self._short.get(name.whole) or self._short.get(name.bare)


def find_pairs(root: Path, tops: Sequence[Path] = ()) -> Found:
    """The images below a folder by the name of the sample, and the masks, those without one too.

    ``tops`` are the folders to look in, if known. Where no name tells, a PNG beside a JPEG of the
    same name is its mask.

    Raises:
        DataError: for a sample with two images, or with two masks of the same words.
    """
    named = [path for path in sorted(root.iterdir()) if not _without_words(path.name)]
    if not tops and len({bool(_ranks(path.name)) for path in named if path.is_dir()}) == 2:
        tops = named  # beside folders such as images/ and masks/, others are something else
    names = [
        read_name(path, root)
        for top in tops or [root]
        for path in files_below(top)
        if not any(map(_OTHER.search, path.relative_to(root).with_suffix("").parts))
    ]
    images = [name for name in names if name.role == "image"]
    images = images or [name for name in names if not name.role]
    # Beside its image, a mask has a word more than it, or another ending.
    bares = {name.bare for name in images if not name.ranks}
    masks = [name for name in images if name.ranks and name.bare in bares]
    masks += [name for name in names if name.role == "mask"]
    if not masks:
        photos = {n.whole for n in images if n.path.suffix.lower() in (".jpg", ".jpeg")}
        masks = [n for n in images if n.whole in photos and n.path.suffix.lower() == ".png"]
    found: dict[str, Path] = {}
    taken = {*masks}
    for image in images:
        if image not in taken and found.setdefault(image.whole, image.path) is not image.path:
            raise two_files(image.whole, found[image.whole], image.path)

    find, paired, left = Finder(root, found), defaultdict(list), {}
    for mask in masks:
        alone = mask._replace(whole=mask.path.stem, bare=mask.bare.rpartition("/")[2])
        if sample := find.of(mask) or find.of(alone):
            paired[sample].append((mask.whole != sample, mask.ranks, mask.path))
        else:
            left[mask.whole] = mask.path
    for sample, near in paired.items():
        near.sort()
        if len(near) > 1 and near[0][:2] == near[1][:2]:
            raise two_files(sample, near[0][2], near[1][2])
    return Found(root, found, {**left, **{sample: near[0][2] for sample, near in paired.items()}})


def two_files(name: str, one: Path, other: Path) -> DataError:
    """The error of a sample with two images, or two masks."""
    ours, theirs = (one.name, other.name) if one.parent == other.parent else (one, other)
    return DataError(f"{one.parent}: expected one file for {name!r}, got {ours} and {theirs}")
