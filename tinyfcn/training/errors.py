"""Why a training ends before its last step."""

from __future__ import annotations

import signal

from tinyfcn.data import DataError
from tinyfcn.files import nearest


class Diverged(Exception):
    """The loss or the weights are no longer finite numbers."""


class Interrupted(DataError):
    """A file could not be used, and what was learnt before is saved."""


class FolderInUse(OSError):
    """Another process trains into this folder."""


class Stopped(Exception):
    """A run was stopped by a signal, after saving a checkpoint that it can go on from.

    Attributes:
        signal: its number; a program that ends because of it exits with 128 + signal.
    """

    def __init__(self, number: int, message: str) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}: {message}")
        self.signal = int(number)


def sentence(error: Exception) -> str:
    """The message of an error; one of the operating system loses its ``[Errno 13]``."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        near = nearest(error.filename) if isinstance(error, FileNotFoundError) and where else ""
        return where + error.strerror.lower() + near
    return str(error)
