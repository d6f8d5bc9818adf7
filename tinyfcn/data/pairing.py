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
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple
from unicodedata import normalize

from tinyfcn.data.conventions import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
# Of two masks of a sample, that is taken whose word stands first here.
MASK_WORDS = (
    "segmentationclass", "segmentationclasspng", "segmentationclassaug", "labelids",
    "labeltrainids", "masks?", "labels?", "segmentations?|seg", "annotations?|annots?",
    "ground[ _-]?truths?|gt|gtfine|gtcoarse", "targets?", "jsons?",
)  # fmt: skip
IMAGE_WORDS = ("jpegimages", "images?", "imgs?", "photos?", "leftimg8bit", "sat")
# Neither: single objects, masks to look at, what networks answered.
OTHER_WORDS = (
    "segmentationobject(?:png)?", "segmentation(?:class|object)visualization", "instanceids",
    "color", "overlays?", "predictions?",
)  # fmt: skip


def _pattern(*words: str) -> re.Pattern[str]:
    """One of the words, between separators."""
    return re.compile(rf"(?i)(?:^|[ _.-])(?:{'|'.join(words)})(?=$|[ _.-])")


_MASK, _IMAGE = [_pattern(words) for words in MASK_WORDS], _pattern(*IMAGE_WORDS)
_OTHER, _ANY = _pattern(*OTHER_WORDS), _pattern(*MASK_WORDS, *IMAGE_WORDS)


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


def find_pairs(
    root: Path, tops: Sequence[Path] = (), mask_suffixes: Sequence[str] = IMAGE_SUFFIXES
) -> tuple[dict[str, Path], dict[str, Path]]:
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
        for path in files_below(top, (*IMAGE_SUFFIXES, *mask_suffixes))
        if not any(map(_OTHER.search, path.relative_to(root).with_suffix("").parts))
    ]
    pictures = [name for name in names if name.path.suffix.lower() in IMAGE_SUFFIXES]
    images = [name for name in pictures if name.role == "image"]
    images = images or [name for name in pictures if not name.role]
    if mask_suffixes == IMAGE_SUFFIXES:
        # Beside its image, a mask has a word more than it, or another ending.
        bares = {name.bare for name in images if not name.ranks}
        masks = [name for name in images if name.ranks and name.bare in bares]
        masks += [name for name in names if name.role == "mask"]
        if not masks:
            photos = {n.whole for n in images if n.path.suffix.lower() in (".jpg", ".jpeg")}
            masks = [n for n in images if n.whole in photos and n.path.suffix.lower() == ".png"]
    else:
        masks = [name for name in names if name.path.suffix.lower() in mask_suffixes]

    found: dict[str, Path] = {}
    paired: dict[str, Path] = {}
    taken = {*masks}
    images = [image for image in images if image not in taken]
    for image in images:
        if found.setdefault(image.whole, image.path) is not image.path:
            raise two_files(image.whole, found[image.whole], image.path)
    whole, bare = defaultdict(list), defaultdict(list)
    for mask in masks:
        whole[mask.whole].append(mask)
        if mask.whole not in found:
            bare[mask.bare].append(mask)
    for image in images:
        near = sorted(whole[image.whole] or bare[image.bare], key=lambda name: name.ranks)
        if len(near) > 1 and near[0].ranks == near[1].ranks:
            raise two_files(image.whole, near[0].path, near[1].path)
        if near:
            paired[image.whole] = near[0].path
    used = {path: name for name, path in paired.items()}
    for name, path in paired.items():
        if used[path] != name:
            raise DataError(f"{path}: is it the mask of {found[name]} or of {found[used[path]]}?")
    left = {mask.whole: mask.path for mask in masks if mask.path not in used}
    return found, {**left, **paired}


def two_files(name: str, one: Path, other: Path) -> DataError:
    """The error of a sample with two images, or two masks."""
    ours, theirs = (one.name, other.name) if one.parent == other.parent else (one, other)
    return DataError(f"{one.parent}: expected one file for {name!r}, got {ours} and {theirs}")
