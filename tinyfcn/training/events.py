"""The log of a run for TensorBoard: an event file. Needs the extra ``tensorboard``."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


def write_events(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write the rows of a log. What was written before is written again, so that a TensorBoard that
    watches the file finds what is new behind it.

    Raises:
        ImportError: without tensorboardX; names the extra to install.
    """
    try:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.record_writer import RecordWriter  # has no thread to lose an error in
    except ImportError as error:
        raise ImportError(
            "event files need tensorboardX: install the extra with "
            "`pip install tinyfcn[tensorboard]`"
        ) from error
    began = time.time() - rows[-1]["seconds"]
    with contextlib.closing(RecordWriter(str(path))) as writer:
        writer.write(Event(file_version="brain.Event:2").SerializeToString())
        for row in rows:
            event = Event(step=int(row["epoch"]), wall_time=began + row["seconds"])
            for name in row.keys() - {"epoch", "iteration", "seconds"}:
                if math.isfinite(row[name]):
                    tag = name.replace("iu ", "iu/", 1)
                    event.summary.value.add(tag=tag, simple_value=row[name])
            writer.write(event.SerializeToString())
