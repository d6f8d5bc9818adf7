"""Files that are written whole or not at all, and names for them that are free."""

from __future__ import annotations

import contextlib
import difflib
import errno
import itertools
import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

AnyPath = str | os.PathLike[str]


def open_regular(path: AnyPath) -> BinaryIO:
    """Open a file to read bytes; OSError at once for a pipe, which would be waited for."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # open() rejects folders
        raise OSError(errno.EINVAL, "expected a file, got a pipe, socket or device", str(path))
    return open(path, "rb")


def nearest(path: AnyPath) -> str:
    """What an error about a file or folder that is not there ends with: the nearest name there."""
    near: list[str] = []
    with contextlib.suppress(OSError, TypeError):  # a file may be a number
        near = difflib.get_close_matches(Path(path).name, os.listdir(Path(path).parent), 1)
    return f"; the nearest is {Path(path).with_name(near[0])}" if near else ""


@contextlib.contextmanager
def atomic_write(path: AnyPath) -> Iterator[BinaryIO]:
    """Open a temporary file beside ``path``; when the block ends well, rename it to ``path``.

    The bytes are on the disk (fsync) before the rename, and the rename before the end, so that
    after a crash ``path`` holds either the old file or the new one. If the block or the disk fails,
    the temporary file is removed, what was at ``path`` before stays as it was, and the error goes
    on to the caller. A file that is replaced hands on its mode. Behind a symbolic link, it is the
    file it leads to that is replaced.

    Raises:
        OSError: naming ``path``, before the block, where its folder does not exist, or where
            something else is there than a regular file that may be written to.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = Path(folder.name) / "note.txt"
        >>> with atomic_write(path) as file:
        ...     _ = file.write(b"whole")
        >>> path.read_bytes()
        b'whole'
        >>> folder.cleanup()
    """
    mode = _mode_to_keep(path)
    target = Path(os.path.realpath(path) if os.path.islink(path) else path)
    ending = f".{os.getpid()}.tmp"
    temporary = target.with_name(f".{shortened(target.name, len(ending) + 1)}{ending}")
    try:
        temporary.unlink(missing_ok=True)  # of a dead process of the same number
        with open(temporary, "xb") as file:
            if mode is not None:
                temporary.chmod(mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            # A full disk names no file.
            error.filename = str(path if target.parent.is_dir() else target.parent)
        raise
    with contextlib.suppress(OSError), contextlib.ExitStack() as at_last:
        folder = os.open(target.parent, os.O_RDONLY)
        at_last.callback(os.close, folder)
        os.fsync(folder)  # not every system does this to folders


def write_bytes(path: AnyPath, data: bytes) -> None:
    """Write a whole file as :func:`atomic_write` does."""
    with atomic_write(path) as file:
        file.write(data)


def _mode_to_keep(path: AnyPath) -> int | None:
    """The mode of the file that is to be replaced; None where nothing is there yet."""
    name = os.fspath(path)
    try:
        mode = os.stat(path).st_mode if os.path.basename(name) else stat.S_IFDIR
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        reason = "expected the name of a file, but folders, devices and pipes are not replaced"
        raise OSError(errno.EINVAL, reason, name or "''")
    if not _writable(path):
        raise PermissionError(errno.EACCES, "the file is write-protected", name)
    return stat.S_IMODE(mode)


class Outputs:
    """Names for what one run of a command writes, none of which costs a file.

    Taken are the names of files that the run reads or has written, also those that differ from
    them in case or in Unicode's form only, and of whatever else is there. Only what bears a mark of
    the command, which an earlier run has left, is replaced, unless it is write-protected.

    Args:
        inputs: the files that the run reads.
        marks: one of them stands in the first or last 4096 bytes of what the command writes.

    Example:
        >>> outputs = Outputs([], "tinyfcn double")
        >>> for stem in "cat", "Cat":
        ...     paths, note = outputs.free("no/folder", stem, ".png", ".txt")
        ...     print(paths[0].name, paths[1].name + note)
        cat.png cat.txt
        Cat-2.png Cat-2.txt; Cat.png or Cat.txt is taken
    """

    def __init__(self, inputs: Iterable[AnyPath], *marks: str) -> None:
        self._inputs = {_identity(path) for path in inputs} - {None}
        self._marks = marks
        self._written: set[str] = set()
        self._left: dict[tuple[AnyPath, ...], Iterator[str]] = {}  # all before them are taken

    def free(self, folder: AnyPath, stem: str, *endings: str) -> tuple[list[Path], str]:
        """A path for each ending, and a note for the screen where the first choice was taken."""

        def paths(name: str) -> list[Path]:
            number = name.removeprefix(stem)
            start = shortened(stem, len(number) + max(map(len, endings)))
            return [Path(folder, start + number + ending) for ending in endings]

        names = self._left.setdefault((folder, stem, *endings), numbered(stem))
        free = next(p for p in map(paths, names) if not any(map(self._is_taken, p)))
        self._written.update(map(_folded, free))
        wanted = paths(stem)
        note = f"; {' or '.join(path.name for path in wanted)} is taken"
        return free, "" if free == wanted else note

    def write(self, path: Path, data: bytes) -> tuple[Path, str]:
        """Write a file there, in a folder that is made, or beside what is taken; where, and a note
        of that."""
        path.parent.mkdir(parents=True, exist_ok=True)
        (free,), note = self.free(path.parent, path.stem, path.suffix)
        write_bytes(free, data)
        return free, note

    def _is_taken(self, path: Path) -> bool:
        known = _folded(path) in self._written or _identity(path) in self._inputs
        ours = bears(path, *self._marks) and _writable(path)
        return known or (os.path.lexists(path) and not ours)


def bears(path: AnyPath, *marks: str) -> bool:
    """Whether there is a regular file that one of the marks begins or ends."""
    text = b""
    with contextlib.suppress(OSError), open_regular(path) as file:
        text = file.read(4096)
        file.seek(-len(text), os.SEEK_END)
        text += file.read()
    return any(mark.encode() in text for mark in marks)


def _writable(path: AnyPath) -> bool:
    return bool(os.stat(path).st_mode & 0o222) and os.access(path, os.W_OK)


def _identity(path: AnyPath) -> object:
    """What two names of one file have in common; None where there is no file."""
    with contextlib.suppress(OSError):
        return os.stat(path)[1:3]  # its number, and the device's
    return None


def _folded(path: Path) -> str:
    return unicodedata.normalize("NFC", str(path).casefold())


def shortened(name: str, more: int) -> str:
    """The beginning of a name that leaves room for some bytes more, of 255 in all."""
    while len(os.fsencode(name)) + more > 255:
        name = name[:-1]
    return name


def numbered(name: str) -> Iterator[str]:
    """The name itself, then with numbers, for whoever looks for one that is free.

    Example:
        >>> [name for name, _ in zip(numbered("cat"), range(3))]
        ['cat', 'cat-2', 'cat-3']
    """
    yield name
    yield from (f"{name}-{number}" for number in itertools.count(2))
