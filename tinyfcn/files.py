"""Files that are written whole or not at all, and names for them that are free."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a temporary file beside ``path``; when the block ends well, rename it to ``path``.

    The bytes are on the disk (fsync) before the rename, so that after a crash ``path`` holds
    either the old file or the new one. If the block or the disk fails, the temporary file is
    removed, what was at ``path`` before stays as it was, and the error goes on to the caller.

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
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            error.filename = str(path)  # a full disk names no file, others the temporary one
        raise


def numbered(name: str) -> Iterator[str]:
    """The name itself, then with numbers, for whoever looks for one that is free.

    Example:
        >>> [name for name, _ in zip(numbered("cat"), range(3))]
        ['cat', 'cat-2', 'cat-3']
    """
    yield name
    yield from (f"{name}-{number}" for number in itertools.count(2))
