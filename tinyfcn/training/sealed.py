"""Texts that a run writes anew, unless another hand has written or changed them."""

from __future__ import annotations

import errno
import os
import zlib
from pathlib import Path

from tinyfcn.files import open_regular, write_bytes

MARK = "<!-- made by tinyfcn train, which writes it anew unless it was changed; "
_MOST = 1 << 23  # bytes that such a text has at most


def write(path: Path, text: str) -> None:
    """Write a text of HTML or Markdown, and below it a comment by which :func:`read` knows it.

    Raises:
        OSError: if what is there is not as this function wrote it; it stays.
    """
    if os.path.lexists(path) and read(path) is None:
        reason = "another hand wrote or changed it, and so it stays"
        raise OSError(errno.EEXIST, reason, str(path))
    data = text.encode("utf-8", "backslashreplace")
    write_bytes(path, data + _seal(data))


def read(path: Path) -> str | None:
    """The text, None where there is none that is as :func:`write` left it.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = Path(folder.name) / "README.md"
        >>> write(path, "# Cats")
        >>> read(path)
        '# Cats'
        >>> path.write_text("# Dogs") and read(path)
        >>> folder.cleanup()
    """
    try:
        with open_regular(path) as file:
            data, _, end = file.read(_MOST).rpartition(MARK.encode())
    except OSError:
        return None
    return data.decode() if MARK.encode() + end == _seal(data) else None


def _seal(data: bytes) -> bytes:
    return f"{MARK}{zlib.crc32(data):08x} -->\n".encode()
