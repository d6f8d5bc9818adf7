"""Errors that a user can put right, and how a program says them: one message, no traceback."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator

from tinyfcn.backend.errors import BackendError
from tinyfcn.data import DataError
from tinyfcn.training.checkpoint import CheckpointError


class UsageError(Exception):
    """Options that do not make sense together."""


class Diverged(Exception):
    """The loss or the weights are no longer finite numbers."""


class Stopped(Exception):
    """A run was stopped by a signal, after saving a checkpoint that it can go on from.

    Attributes:
        signal: its number; a program that ends because of it exits with 128 + signal.
    """

    def __init__(self, number: int, message: str) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}: {message}")
        self.signal = int(number)


@contextlib.contextmanager
def usage_errors(option: str) -> Iterator[None]:
    """What the library refuses inside the block is the user's choice of ``option``, and so is what
    needs an extra that is not installed.

    Example:
        >>> with usage_errors("--width"):
        ...     raise ValueError("at least 1/64")
        Traceback (most recent call last):
        tinyfcn.training.errors.UsageError: --width: at least 1/64
    """
    try:
        yield
    except (TypeError, ValueError, ImportError) as error:
        raise UsageError(f"{option}: {error}") from error


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Turn what a user can put right into one message on stderr and an exit status.

    The status is 2 for an error, 130 after Ctrl-C, 1 if training diverged. Other exceptions are
    defects of the program and keep their traceback.
    """
    try:
        yield
    except Stopped as stopped:
        _exit(128 + stopped.signal, str(stopped))
    except KeyboardInterrupt:
        _exit(130, "stopped")
    except Diverged as diverged:
        _exit(1, f"training stopped: {diverged}")
    except MemoryError as error:
        _exit(2, f"error: not enough memory: {error}; "
                 "a smaller --batch-size, --crop or --width needs less")  # fmt: skip
    except (UsageError, DataError, CheckpointError, BackendError, OSError) as error:
        _exit(2, f"error: {sentence(error)}")


def sentence(error: Exception) -> str:
    """The message of an error; one of the operating system loses its ``[Errno 13]``."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return where + error.strerror.lower()
    return str(error)


def _exit(status: int, message: str) -> None:
    sys.stdout.flush()
    print(message, file=sys.stderr)
    sys.exit(status)
