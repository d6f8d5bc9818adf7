"""What a command prints, on a screen that may be unable to take it."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

from tinyfcn.training.errors import sentence


class Screen:
    """Standard output or standard error, for a command that must not end because of it.

    It may be full (``> /dev/full``), closed (``>&-``), read by nobody (``| head``): what it cannot
    take is lost, and each write tries anew. Letters that its encoding lacks are shown as ``\\xfc``.
    Where a progress bar stands, which begins with a carriage return and ends without a new line,
    other text first gets a line of its own.

    Args:
        stream: ``sys.stdout`` or ``sys.stderr``.

    Attributes:
        error: the first that a write met.
        counts: whether that is a failure of the command.
    """

    counts = True

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.error: Any = None
        self._bar = 0  # characters of the bar that the cursor stands behind
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")

    def write(self, *text: str) -> Any:
        """Write what can be written; without a text, hand on what is buffered."""
        try:
            if text:
                bar, self._bar = self._bar, len(text[0]) * text[0].startswith("\r")
                if bar and not self._bar:  # a terminal's is wiped clean
                    gap = "\r" + " " * (bar - 1) + "\r" if self.stream.isatty() else "\n"
                    self.stream.write(gap)
            self.stream.write(*text) if text else self.stream.flush()
        except (OSError, ValueError) as error:  # ValueError: the program has closed it
            self.error = self.error or error

    flush = write

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def forgiving_screens() -> Iterator[None]:
    """In this block what is printed goes to a :class:`Screen`.

    Raises:
        SystemExit: at the end of a block that went well, if standard output failed: with status
            141 where nobody reads it to its end, as a shell says of SIGPIPE, else with 2.
    """
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        # A stream is None where it is closed.
        out, err = Screen(sys.stdout or nowhere), Screen(sys.stderr or nowhere)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                yield
            finally:
                end = sys.exc_info()[1]
                err.write("")  # from the line of a bar to an empty one
                out.flush()
                failed = out.error and not getattr(end, "code", end)  # while all else went well
                unread = isinstance(out.error, BrokenPipeError)
                if failed and not unread:
                    print(f"error: standard output: {sentence(out.error)}", file=err)
                for screen in (out, err):
                    screen.flush()
                    if screen.error:  # what Python still holds, and would write at its end
                        os.dup2(nowhere.fileno(), screen.fileno())
                if failed and out.counts:
                    sys.exit(141 if unread else 2)


@contextlib.contextmanager
def for_watching() -> Iterator[None]:
    """In this block what is printed only tells how far the work is: the command does not fail where
    that is lost."""
    out, err = (s if isinstance(s, Screen) else Screen(s) for s in (sys.stdout, sys.stderr))
    out.counts = err.counts = False
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield
