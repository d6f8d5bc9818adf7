"""One run at a time in a folder: a lock that the system frees however the process ends."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from tinyfcn.training.errors import FolderInUse

try:
    import fcntl
except ImportError:  # not Unix: a run goes on without
    fcntl = None  # type: ignore[assignment]

_held: set[int] = set()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file ``path`` in this block; it says who does, and is removed afterwards.

    A process that is forked inside the block does not hold it. Where the file system knows no
    locks, the block runs without.

    Raises:
        FolderInUse: if another process holds it; says which.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = Path(folder.name) / "run.lock"
        >>> with locked(path):
        ...     path.read_text().startswith(f"process {os.getpid()} on ")
        True
        >>> path.exists()
        False
        >>> folder.cleanup()
    """
    file = _open(path)
    _held.add(file)
    try:
        with contextlib.suppress(OSError):  # on a full disk it holds without a word
            os.truncate(file, 0)
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            os.write(
                file, f"process {os.getpid()} on {socket.gethostname()} since {since}".encode()
            )
        yield
    finally:
        if file in _held:  # else this is a forked child
            with contextlib.suppress(OSError):
                if _is(file, path):
                    path.unlink()
            _held.discard(file)
            os.close(file)


def _open(path: Path) -> int:
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is(file, path):  # else who held it has removed it meanwhile
                return file
        except BlockingIOError:
            who = os.read(file, 200).decode(errors="replace").strip() or "another process"
            os.close(file)
            raise FolderInUse(f"{path.parent} is in use by {who}") from None
        except OSError:  # no locks here
            return file
        os.close(file)


def _is(file: int, path: Path) -> bool:
    """Whether the open file is still the one at ``path``."""
    return path.exists() and os.path.samestat(os.fstat(file), path.stat())


def _forget() -> None:
    """Close the copies that a forked child has, and with which it would keep the lock."""
    for file in _held:
        os.close(file)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
