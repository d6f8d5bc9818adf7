"""Which samples are of a split: those of a list, those of a folder, or a share of all."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath

from tinyfcn.data.class_files import read_lines
from tinyfcn.data.conventions import DataError
from tinyfcn.data.pairing import IMAGE_SUFFIXES, MOST_FOLDERS, Finder

__all__ = ["NoSplit", "held_out"]

LIST_FOLDERS = ("ImageSets/Segmentation", "", "lists", "list", "splits", "ImageSets")
OTHER_NAMES = {"train": ("training",), "val": ("valid", "validation"), "test": ("testing",)}
_SEPARATOR = re.compile(r"\s*[\t,;]\s*|\s+")
# Behind a blank, which a name may have too, only a path or numbers, as VOC's -1, 0 and 1.
_COLUMN = re.compile(rf"-1|0|1|\d+( \d+)+|.*(?:{'|'.join(map(re.escape, IMAGE_SUFFIXES))})", re.I)


class NoSplit(FileNotFoundError):
    """Neither a list nor a folder has the name; ``lists`` are there, and so many ``images``."""

    def __init__(self, message: str, lists: Iterable[str] = (), images: int = 0) -> None:
        super().__init__(message)
        self.lists, self.images = tuple(lists), images


def split_names(split: str) -> set[str]:
    """What a split may be called."""
    return {split, *OTHER_NAMES.get(split, ())}


def find_list(root: Path, split: str) -> Path | None:
    """The list of a split, ``<split>.txt`` in one of ``LIST_FOLDERS``, or at the path ``split``."""
    names = {f"{name}.txt" for name in split_names(split.removesuffix(".txt"))}
    for folder in LIST_FOLDERS:
        exact = root / folder / f"{split.removesuffix('.txt')}.txt"
        near = (path for path in (root / folder).glob("*.txt") if path.name.lower() in names)
        if path := exact if exact.exists() else next(near, None):
            return path
    return Path(split) if split.endswith(".txt") and Path(split).exists() else None


def ids_of(
    root: Path,
    split: str | None,
    images: Mapping[str, Path],
    masks: dict[str, Path],
    lists: Collection[str] = (),
) -> tuple[list[str], Path]:
    """The ids of a split, None for all, and the file or folder that says so.

    They stand in a list, else they are the samples in folders of that name. In a list, an id may
    have an ending, folders before it, and columns behind it; where a second one names a file,
    ``masks`` gets that. ``lists`` are other files that say of images what they are for.

    Raises:
        NoSplit: if there is neither.
        DataError: if the list is none, or has two names for an image.
    """
    if split is None:
        return [*images], root
    find, path = Finder(root, images), find_list(root, split)
    if path is None:
        inside = [n for n in images if split_names(split) & {*n.lower().split("/")[:-1]}]
        if inside:
            return inside, root
        lists = sorted({*lists, *_lists_in(root, find)})
        folders = sorted({f"{name.split('/')[0]}/" for name in images if "/" in name})
        there = [*lists, *folders[:9]]
        place = next(root / name for name in LIST_FOLDERS if (root / name).is_dir())
        raise NoSplit(
            f"{place / split}.txt: there is no such list; image ids should lie there, one a line "
            f"(lists there: {', '.join(there) or 'none'}"
            f"{'; train_split and val_split name others' if there else ''})",
            lists,
            len(images),
        )
    samples = [(line, *_sample(line, find)) for line in read_lines(path, columns=3)]
    masks.update({name: mask for _, name, mask in samples if mask})
    lines = {name: line for line, name, _ in samples}
    for line, name, _ in samples:
        if line != lines[name]:
            raise DataError(f"{path}: {line!r} and {lines[name]!r} are one image, {images[name]}")
    return [name for _, name, _ in samples], path


def _lists_in(root: Path, find: Finder) -> set[str]:
    """The names of the lists there; beside images, other texts lie too, and are told by them."""
    paths = [path for folder in LIST_FOLDERS for path in (root / folder).glob("*.txt")]
    found = set()
    for path in paths:
        with contextlib.suppress(DataError, OSError, IndexError):
            first = read_lines(path, columns=3)[0]
            if path.parent != root or _sample(first, find)[0] in find.images:
                found.add(path.name)
    return found


def _sample(line: str, find: Finder) -> tuple[str, Path | None]:
    """The id that a line means, as far as known, and the mask that a second column names."""
    if line in find.images:
        return line, None
    for cut in _SEPARATOR.finditer(line):
        rest = line[cut.end() :]
        if (cut[0].strip(" ") or _COLUMN.fullmatch(rest)) and (name := find(line[: cut.start()])):
            return name, _file(find.root, _SEPARATOR.split(rest)[0])
    return find(line) or line, None


def _file(root: Path, text: str) -> Path | None:
    """The file below the root that a path ends in."""
    parts = PurePosixPath(text.replace("\\", "/").lstrip("/")).parts[-MOST_FOLDERS:]
    ends = (root.joinpath(*parts[start:]) for start in range(len(parts)))
    known = text.lower().endswith(IMAGE_SUFFIXES) and ".." not in parts
    return next((path for path in ends if known and path.is_file()), None)


def held_out(ids: Collection[str], share: float, by_folder: bool = False) -> set[str]:
    """About a share of the ids to score on.

    An id, or with ``by_folder`` the folder before its last slash, is taken if its SHA-256, read as
    a fraction from 0 to 1, is less than the share: what is added later moves no other. Of few, that
    may be far from the share; so at least a third and at most twice as many as it says are taken,
    rounded, those of the least fractions: at least one, and never all.

    Raises DataError if there is but one to choose from.

    >>> sorted(held_out(["a/1", "a/2", "b/1", "b/2"], 0.2, by_folder=True))
    ['b/1', 'b/2']
    """
    groups = {name: name.rpartition("/")[0] if by_folder else name for name in ids}
    places = {
        group: int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") / 2**64
        for group in groups.values()
    }
    if len(places) < 2:
        one = "folder" if by_folder else "image"
        raise DataError(
            f"one {one}, {next(iter(ids))}: expected two at least, one of them to score on; "
            "a large image can be cut into several"
        )
    order, wanted = sorted(places, key=places.__getitem__), share * len(places)
    count = sum(place < share for place in places.values())
    count = min(max(count, round(wanted / 3), 1), max(round(2 * wanted), 1), len(order) - 1)
    chosen = {*order[:count]}
    return {name for name, group in groups.items() if group in chosen}
