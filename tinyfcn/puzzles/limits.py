"""The reader's code, with a limit of time, and what it raises with its own line."""

from __future__ import annotations

import ctypes
import linecache
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

from tinyfcn.puzzles.puzzle import Wrong

SECONDS = 10.0  # for one case


class Endless(Wrong):
    """Code that did not come to an end."""


def within(path: Path, work: Callable[[], Any], passed_on: tuple[type[Exception], ...] = ()) -> Any:
    """What ``work`` gives, which runs the reader's file; some exceptions are passed on.

    It runs in a thread, so that Ctrl-C is heard whatever the code does. What is not done in time
    is told to stop, which Python obeys and a kernel does not.

    Raises:
        Wrong: if it raises another exception or does not end, with the line of the file.
    """
    answer: list[Any] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            answer.append(work())
        except BaseException as error:  # also SystemExit: it is the reader's
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    number = thread.ident or 0
    thread.join(SECONDS)
    while thread.is_alive():
        frames = [*traceback.walk_stack(sys._current_frames().get(number))]
        if any(frame.f_globals.get("__name__") == "pdb" for frame, _ in frames):
            thread.join(SECONDS)  # the reader is at a breakpoint()
            continue
        place = _place(path, frames)
        stop = ctypes.c_ulong(number), ctypes.py_object(SystemExit)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(*stop)
        raise Endless(f"{place}no end after {SECONDS:g} seconds: a loop that never stops?")
    for error in raised:
        if isinstance(error, (Wrong, *passed_on)):
            raise error
        place = _place(path, [*traceback.walk_tb(error.__traceback__)][::-1])
        said = "".join(traceback.format_exception_only(error)).strip()  # a SyntaxError has the line
        raise Wrong(place + said.replace(f'File "{path}"', f'File "{path.name}"')) from error
    return answer[0]


def _place(path: Path, frames: Iterable[tuple[FrameType, int]]) -> str:
    """``01_im2col.py:12: x = y`` for the first frame of the file; "" if there is none."""
    for frame, line in frames:
        if frame.f_code.co_filename == str(path):
            linecache.checkcache(str(path))
            return f"{path.name}:{line}: {linecache.getline(str(path), line).strip()}\n"
    return ""
