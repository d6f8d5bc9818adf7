"""The pictures that a command line names: files, folders, lists and patterns."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from pathlib import Path

from tinyfcn.cli.errors import UsageError
from tinyfcn.data.class_files import read_lines
from tinyfcn.data.pairing import IMAGE_SUFFIXES, files_below
from tinyfcn.files import bears


def find_pictures(names: Iterable[str], mark: str) -> list[tuple[Path, Path]]:
    """The files, and for each the sub-folder of the output that its results belong into.

    A name is that of a picture; of a folder, of which all pictures are taken, also those in its
    sub-folders, but for what the command wrote itself; of a list (``@list`` or ``list.txt``), one
    picture a line, beside the list or from where one is; or a pattern such as ``scans/*.png``.

    Args:
        names: as they were typed.
        mark: what bears it was written by the command.

    Raises:
        UsageError: if a folder, a list or a pattern has no picture.
        DataError, OSError: if a list cannot be read.
    """
    found = []
    for name in names:
        pictures = [*_behind(name, mark)]
        if not pictures:
            endings = ", ".join(IMAGE_SUFFIXES)
            raise UsageError(f"{name}: expected pictures ({endings}), found none")
        found += pictures
    return found


def _behind(name: str, mark: str) -> Iterator[tuple[Path, Path]]:
    path, here = Path(name), Path()
    if path.is_dir():
        files = (file for file in files_below(path) if not bears(file, mark))
        yield from ((file, file.parent.relative_to(path)) for file in files)
    elif not path.exists() and glob.has_magic(name):
        yield from ((Path(file), here) for file in sorted(glob.glob(name, recursive=True)))
    elif name.startswith("@") or path.suffix.lower() == ".txt":
        listing = path if path.exists() else Path(name.removeprefix("@"))
        for line in read_lines(listing):
            beside = listing.parent / line
            yield beside if beside.exists() else Path(line), here
    else:
        yield path, here
