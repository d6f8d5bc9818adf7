"""Files that a run goes on without, where they cannot be written."""

from __future__ import annotations

from collections.abc import Callable

from tinyfcn.training import report
from tinyfcn.training.errors import Diverged, sentence


class Attempts:
    """Attempts to write files; what cannot be written is said once.

    Attributes:
        failed: the files whose last attempt failed.
    """

    def __init__(self) -> None:
        self._said: set[str] = set()
        self.failed: set[str] = set()

    def __call__(self, name: str, write: Callable[[], None]) -> bool:
        """Write the file ``name``; whether that could be done."""
        try:
            write()
        except Diverged:
            raise
        except Exception as error:
            if name not in self._said:
                report.note(f"{name} is skipped: {sentence(error) or type(error).__name__}")
            self._said.add(name)
            self.failed.add(name)
            return False
        self.failed.discard(name)
        return True
