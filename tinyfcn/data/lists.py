"""Which samples are of a split: those of a list, those of a folder, or a share of all."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath

from tinyfcn.data.class_files import read_lines
from tinyfcn.data.conventions import DataError
from tinyfcn.data.pairing import IMAGE_SUFFIXES, read_name, sample_name

__all__ = ["NoSplit", "held_out"]

LIST_FOLDERS = ("ImageSets/Segmentation", "", "lists", "splits")
OTHER_NAMES = {"train": ("training",), "val": ("valid", "validation"), "test": ("testing",)}
MOST_FOLDERS = 16  # before a name in a list
# Behind a blank, which a name may have too, only a path or VOC's -1, 0 and 1 are a column.
_COLUMNS = (
    re.compile(r"([^\t,;]+)[\t,;]+ *([^\t,;]*)"),
    re.compile(rf"(\S+) +(\S+(?:{'|'.join(map(re.escape, IMAGE_SUFFIXES))})|-1|0|1)", re.I),
)


class NoSplit(FileNotFoundError):
    """Neither a list nor a folder has the name; ``lists`` are there, and so many ``images``."""

    def __init__(self, message: str, lists: Iterable[str] = (), images: int = 0) -> None:
        super().__init__(message)
        self.lists, self.images = tuple(lists), images


def ids_of(
    root: Path, split: str | None, images: Mapping[str, Path], masks: dict[str, Path]
) -> tuple[list[str], Path]:
    """The ids of a split, None for all, and the file or folder that says so.

    They stand in the list ``<split>.txt`` in one of ``LIST_FOLDERS``, or at the path ``split``;
    else they are the samples in folders of that name. In a list, an id may have an ending, folders
    before it, and columns behind it; where a second one names a file, ``masks`` gets that.

    Raises:
        NoSplit: if there is neither.
        DataError: if the list is none, or has two names for an image.
    """
    if split is None:
        return [*images], root
    find = Finder(root, images)
    places = [root / folder / f"{split}.txt" for folder in LIST_FOLDERS]
    named = [Path(split)] if split.endswith(".txt") else []
    path = next((path for path in (*places, *named) if path.exists()), None)
    if path is None:
        names = {split, *OTHER_NAMES.get(split, ())}
        inside = [name for name in images if names & {*name.lower().split("/")[:-1]}]
        if inside:
            return inside, root
        lists = sorted(_lists_in(root, find))
        place = next(path for path in places if path.parent.is_dir())
        raise NoSplit(
            f"{place}: there is no such list; image ids should lie there, one a line "
            f"(lists there: {', '.join(lists) or 'none'}"
            f"{'; --train-split and --val-split name others' if lists else ''})",
            lists,
            len(images),
        )
    ids: list[str] = []
    lines: dict[str, str] = {}
    for line in read_lines(path, columns=3):
        name, mask = find.with_mask(line)
        if lines.setdefault(name, line) != line:
            raise DataError(f"{path}: {lines[name]!r} and {line!r} are one image, {images[name]}")
        if mask is not None:
            masks[name] = mask
        ids.append(name)
    return ids, path


def _lists_in(root: Path, find: Finder) -> set[str]:
    """The names of the lists there; beside images, other texts lie too, and are told by them."""
    paths = [path for folder in LIST_FOLDERS for path in (root / folder).glob("*.txt")]
    found = set()
    for path in paths:
        with contextlib.suppress(DataError, OSError, IndexError):
            first = read_lines(path, columns=3)[0]
            if path.parent != root or find.with_mask(first)[0] in find.images:
                found.add(path.name)
    return found


class Finder:
    """Finds the sample that a line of a list means, among images below ``root``.

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

    def __call__(self, text: str, folders: bool = True) -> str | None:
        """The id that the text means, or None; with ``folders``, it may begin with unknown ones."""
        if (text := sample_name(text)) in self.images:
            return text
        if not text.lower().endswith(IMAGE_SUFFIXES):
            text += IMAGE_SUFFIXES[0]
        path = PurePosixPath(text.replace("\\", "/").lstrip("/"))
        name = read_name(PurePosixPath(*path.parts[-MOST_FOLDERS:]), PurePosixPath())
        for key in (name.whole, name.bare):
            parts = key.split("/")
            for start in range(len(parts) if folders else 1):
                if (short := "/".join(parts[start:])) in self.images:
                    return short
        return self._short.get(name.whole)

    def with_mask(self, line: str) -> tuple[str, Path | None]:
        """The id that a line means, as far as known, and the mask that a second column names."""
        if (name := self(line, folders=False)) is not None:
            return name, None
        for found in filter(None, (columns.match(line) for columns in _COLUMNS)):
            if (name := self(found[1].strip())) is not None:
                return name, self._file(found[2].strip())
        return self(line) or line, None

    def _file(self, text: str) -> Path | None:
        """The file below the root that a path ends in."""
        parts = PurePosixPath(text.replace("\\", "/").lstrip("/")).parts[-MOST_FOLDERS:]
        ends = (self.root.joinpath(*parts[start:]) for start in range(len(parts)))
        known = text.lower().endswith(IMAGE_SUFFIXES) and ".." not in parts
        return next((path for path in ends if known and path.is_file()), None)


def held_out(ids: Collection[str], share: float, by_folder: bool = False) -> set[str]:
    """About a share of the ids to score on, at least one and not all.

    An id, or with ``by_folder`` the folder before its last slash, is taken if its SHA-256, read as
    a fraction from 0 to 1, is less than the share: what is added later moves no other.

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
    order = sorted(places, key=places.__getitem__)
    count = sum(place < share for place in places.values())
    chosen = {*order[: min(max(count, 1), len(order) - 1)]}
    return {name for name, group in groups.items() if group in chosen}
