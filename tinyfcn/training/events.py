"""The log of a run for TensorBoard: event files in its folder. Needs the extra ``tensorboard``."""

from __future__ import annotations

import contextlib
import math
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class Events:
    """Writes each row of a log once; a run that goes on writes all of them into a new file.

    Args:
        folder: where to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None
        self._written = 0

    def write(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write the rows that are not written yet; ImportError names the extra to install."""
        try:
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto.event_pb2 import Event
            from tensorboardX.summary import scalar
        except ImportError as error:
            raise ImportError(
                "event files need tensorboardX: install the extra with "
                "`pip install tinyfcn[tensorboard]`"
            ) from error
        # Unlike its other writer, this one has no thread in which an error is lost.
        if self._writer is None:
            self._writer = EventsWriter(str(self._folder / "events"))
            weakref.finalize(self, _close, self._writer)
        for row in rows[self._written :]:
            for name in row.keys() - {"epoch", "iteration", "seconds"}:
                if math.isfinite(row[name]):
                    summary = scalar(name.replace("iu ", "iu/", 1), row[name])
                    step = int(row["epoch"])
                    self._writer.write_event(
                        Event(wall_time=time.time(), step=step, summary=summary)
                    )
        self._writer.flush()
        self._written = len(rows)


def _close(writer: Any) -> None:
    with contextlib.suppress(OSError):
        writer.close()
