"""Ctrl-C without losing work: a signal sets a flag, and the loop stops where it is safe."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class StopSignals:
    """Notes Ctrl-C and SIGTERM.

    Attributes:
        number: the signal that came, or None.
    """

    number: int | None = None

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """In this block they are only noted; a second one interrupts at once.

        Outside the main thread, where Python gives no signals, it changes nothing.
        """
        self.number = None
        former = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                former[number] = signal.signal(number, self._note)
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            raise KeyboardInterrupt
        self.number = number
        # os.write, since print may be what the signal interrupted.
        os.write(2, b"\nstopping after this step; once more stops at once, without saving\n")
