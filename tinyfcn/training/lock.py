"""One run at a time in a folder: a lock that the system frees however its process ends."""

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
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of the file ``path`` in this block; the file says who does, or did last.

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
        >>> folder.cleanup()
    """
    with open(path, "a+", encoding="utf-8", errors="replace") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.register_at_fork(after_in_child=file.close)  # a copy would keep the lock
        except BlockingIOError:
            for _ in range(20):  # it may be about to write who it is
                time.sleep(0.05)
                file.seek(0)
                if who := file.read(200):
                    break
            raise FolderInUse(f"{path.parent} is in use by {who or 'another process'}") from None
        except (AttributeError, OSError):  # no locks here
            pass
        with contextlib.suppress(OSError):  # where the disk is full, it holds without a word
            file.truncate(0)
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            who = f"process {os.getpid()} on {socket.gethostname()} since {since}"
            os.write(file.fileno(), who.encode())
        try:
            yield
        finally:
            with contextlib.suppress(AttributeError, OSError, ValueError):  # closed in a child
                fcntl.flock(file, fcntl.LOCK_UN)
