"""When checkpoints are written: the best before the last, and seldom enough to cost little; and
what is done about other files that cannot be."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from tinyfcn.training import checkpoint, report
from tinyfcn.training.errors import Diverged, sentence
from tinyfcn.training.run_folder import RunFolder

SHARE = 0.02  # of the time goes into checkpoints at most


class Saver:
    """Writes ``best.npz`` and ``last.npz``, and keeps the last one's predecessor.

    After a save that took t seconds the next one is due t / SHARE later. Where epochs are shorter,
    the best state so far waits in memory. It is written before the next last one: a ``last.npz``
    tells of a best that is not there only if that could not be written.

    Attributes:
        best: the state that waits to become ``best.npz``, or None.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.best: Mapping[str, Any] | None = None
        self._pause, self._ended = 0.0, time.monotonic()

    def due(self, seconds: float) -> bool:
        """Whether so many have passed since the last save, and enough to pay for one."""
        return time.monotonic() - self._ended >= max(seconds, self._pause)

    def save(self, state: Mapping[str, Any]) -> None:
        """Write the best that waits, and the state as the last.

        Raises:
            CheckpointError: if either cannot be written.
        """
        started = time.monotonic()
        self.folder.path.mkdir(parents=True, exist_ok=True)  # somebody may have removed it
        try:
            self.save_best()
        finally:
            try:
                checkpoint.save(self.folder.last, state, self.folder.previous)
            finally:
                self._ended = time.monotonic()
                self._pause = (self._ended - started) / SHARE

    def save_best(self) -> None:
        """Write the best that waits, if one does."""
        if self.best is not None:
            checkpoint.save(self.folder.best, self.best)
            self.best = None


class Attempts:
    """Attempts to write files that a run goes on without; what cannot be written is said once,
    until it can.

    Attributes:
        failed: the files whose last attempt failed.
    """

    def __init__(self) -> None:
        self.failed: set[str] = set()

    def __call__(self, name: str, write: Callable[[], None]) -> bool:
        """Write the file ``name``; whether that could be done."""
        try:
            write()
        except Diverged:
            raise
        except Exception as error:
            if name not in self.failed:
                report.note(f"{name} is skipped: {sentence(error) or type(error).__name__}")
            self.failed.add(name)
            return False
        self.failed.discard(name)
        return True
