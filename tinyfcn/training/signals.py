"""Ctrl-C without losing work: a signal sets a flag, and the loop stops where it is safe."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class StopSignals:
    """Notes Ctrl-C, SIGTERM, SIGUSR1, and SIGHUP unless it is ignored, as under ``nohup``.

    Attributes:
        number: the signal that came first, or None.
    """

    number: int | None = None

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """In this block they are only noted; Ctrl-C once more raises KeyboardInterrupt.

        Outside the main thread, where Python gives no signals, it changes nothing.
        """
        self.number = None
        former = {}
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"):
                number = getattr(signal, name, None)  # Windows has no SIGHUP
                if number and (name, signal.getsignal(number)) != ("SIGHUP", signal.SIG_IGN):
                    former[number] = signal.signal(number, self._note)
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        # Nothing is written here: the pipe may be dead, and this would raise inside a step.
        if self.number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = self.number or number
