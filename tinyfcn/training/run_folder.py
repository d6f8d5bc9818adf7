"""The run folder: everything that tells what a training run was and how it went.

config.json       every argument, the versions of what computed, the commit, the machine
log.csv           one row an epoch
curves.png        loss and scores over the epochs
predictions.png   image, truth and prediction side by side
report.html       all of it on one page: curves, classes, confusions, the worst images, settings
README.md         the model card, with which the folder can be uploaded as it is
train.txt         the ids of the images that are trained on
val.txt           and of those that are scored on
last.npz          checkpoint to go on from
previous.npz      the one before it
best.npz          checkpoint of the best mean IU so far
events.out.tfevents.tinyfcn  the log for TensorBoard, where that is asked for
run.lock          who trains here now; the system frees it however the process ends
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import tinyfcn
from tinyfcn import visualize
from tinyfcn.files import Outputs, write_bytes
from tinyfcn.metrics import SCORES
from tinyfcn.page import Element, page
from tinyfcn.training import model_card, results, sealed
from tinyfcn.training.evaluation import Evaluation
from tinyfcn.training.events import write_events
from tinyfcn.training.lock import locked

COLUMNS = ("epoch", "iteration", "seconds", "train_loss", *SCORES)  # of the log, before the classes

CHECKPOINTS = ("last.npz", "previous.npz", "best.npz")  # the first that can be read is gone on from
LISTS = ("train.txt", "val.txt")
RECORDS = ("config.json", "log.csv", "curves.png", "predictions.png", "report.html",
           "events.out.tfevents.tinyfcn", *LISTS)  # fmt: skip
MARK = "tinyfcn train"
LOST = (
    "<p>The scores of this epoch were lost in a kill; <code>tinyfcn evaluate</code> has them.</p>"
)
CARD = "README.md"  # one that is there already stays
CONFIG_MARK = '{\n  "arguments": {'  # how config.json begins, which is written first

Row = dict[str, float]


class RunFolder:
    """Paths and writers of one run folder; making one creates the folder and checks it.

    Args:
        path: the folder; made if it is not there.

    Raises:
        OSError: if the folder cannot be made or written to, before anything was computed.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> run = RunFolder(Path(folder.name) / "first")
        >>> run.write_log([{"epoch": 1, "mean_iu": 0.25, "iu cat": float("nan")}])
        >>> run.read_log()[0]["mean_iu"]
        0.25
        >>> folder.cleanup()
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            reason = f"the run folder cannot be made or written to ({error.strerror})"
            raise OSError(error.errno, reason, str(self.path)) from error
        records = (self.path / name for name in RECORDS)
        self.config, self.log, self.curves, self.predictions, self.report, *more = records
        self.events, *self.lists = more
        self.last, self.previous, self.best = (self.path / name for name in CHECKPOINTS)
        self.tensorboard = False  # whether events are written
        self._known: dict[str, Any] = {}  # what config.json says

    @contextlib.contextmanager
    def alone(self, resumed: str | None = None) -> Iterator[RunFolder]:
        """In this block no other process trains here. What dead ones left half-written is removed.

        A ``last.npz`` that is not the checkpoint ``resumed`` gets another name: it may be damaged.

        Raises:
            FolderInUse: saying by whom.
        """
        with locked(self.path / "run.lock"):
            for name in (*CHECKPOINTS, *RECORDS, CARD, "scenes"):
                for path in self.path.glob(f".{name}.*.tmp"):
                    shutil.rmtree(path, ignore_errors=True)
                    path.unlink(missing_ok=True)
            if resumed and self.last.exists() and not self.last.samefile(resumed):
                self.set_aside(self.last, "not gone on from")
            yield self

    def set_aside(self, path: Path, why: str) -> None:
        """Give what is at ``path``, if anything, the next name that is free, and say so."""
        if os.path.lexists(path):
            (free,), _ = Outputs([]).free(path.parent, path.stem, path.suffix)
            path.rename(free)
            print(f"{path}: {why}; it is kept as {free.name}", file=sys.stderr)

    def write_config(self, arguments: Mapping[str, Any], **more: Any) -> None:
        """Write ``config.json``: the arguments, ``more``, and what they ran on."""
        self._known = {"arguments": dict(arguments), **more, "environment": environment()}
        write_bytes(self.config, f"{json.dumps(self._known, indent=2, default=str)}\n".encode())

    def write_log(self, rows: Sequence[Row]) -> None:
        """Write ``log.csv`` anew: it is small, and so it is never half a row."""
        write_bytes(self.log, _csv(rows))

    def write_lists(self, *ids: Sequence[str]) -> None:
        """Write the ids to train on and to score on, one a line."""
        for path, names in zip(self.lists, ids, strict=True):
            write_bytes(path, "".join(f"{name}\n" for name in names).encode())

    def claim_log(self, rows: Sequence[Row] | None) -> None:
        """Set a ``log.csv`` aside that does not begin with these rows, or end within them, because
        another hand has changed it; None, of a checkpoint that knows no rows, takes none."""
        text = _csv(rows) if rows else ",".join(COLUMNS).encode()
        known = rows is not None and self.log.is_file()
        if not (known and text.startswith(self.log.read_bytes()[: len(text)])):
            self.set_aside(self.log, "not as this run wrote it")

    def write_curves(self, rows: Sequence[Row]) -> None:
        """Draw the rows of the log."""
        both = np.hstack([np.asarray(plot) for plot in visualize.plot_curves(rows)])
        write_bytes(self.curves, visualize.png(Image.fromarray(both), MARK))

    def write_sheet(self, sheet: Sequence[visualize.Triple], classes: Sequence[str]) -> None:
        """Draw images, truths and predictions."""
        height = 256 if max(len(image) for image, _, _ in sheet) > 256 else None
        picture = visualize.sheet(sheet, classes, height=height)
        write_bytes(self.predictions, visualize.png(picture, MARK))

    def records(
        self, rows: Sequence[Row], classes: Sequence[str], found: Evaluation | None
    ) -> dict[str, Callable[[], None]]:
        """What writes each file that tells of these epochs; pictures of what was ``found`` last."""
        writers: dict[str, Callable[[], None]] = {
            "log.csv": lambda: self.write_log(rows),
            "curves.png": lambda: self.write_curves(rows),
            "report.html": lambda: self.write_report(rows, classes, found),
            CARD: lambda: self.write_card(rows),
        }
        if self.tensorboard:
            writers["TensorBoard"] = lambda: write_events(self.events, rows)
        if found:
            writers["predictions.png"] = lambda: self.write_sheet(found.sheet, classes)
        return writers

    def write_report(
        self, rows: Sequence[Row], classes: Sequence[str], found: Evaluation | None
    ) -> None:
        """Write ``report.html``. What was ``found`` in the best epoch is shown; where that is None,
        what the page that is there says of this epoch: nothing, if a kill came before that."""
        best = _best(rows)
        begin, end = f"<!-- scores of epoch {best['epoch']:g} -->", "<!-- end of scores -->"
        old = (sealed.read(self.report) or "").partition(begin)[2].partition(end)[0]
        shown = results.evaluation(found, classes) if found else Element(old or LOST)
        values = {**self._known.get("arguments", {}), **self._known.get("environment", {})}
        title = f"{self.path.name}: mean IU {best['mean_iu']:.3f} in epoch {best['epoch']:g}"
        parts = [Element(begin), shown, Element(end), results.settings(values)]
        sealed.write(self.report, page(title, results.curves(rows), *parts))

    def write_card(self, rows: Sequence[Row]) -> None:
        """Write ``README.md``, where ``write_config`` was told which model it is."""
        if "model" in self._known:
            sealed.write(self.path / CARD, model_card.text(self._known, _best(rows)))

    def read_log(self) -> list[Row]:
        """The rows of ``log.csv``, none if there is no such file; an empty cell is NaN."""
        if not self.log.exists():
            return []
        with open(self.log, newline="", encoding="utf-8-sig") as file:
            return [
                {key: json.loads(text or "NaN") for key, text in row.items()}
                for row in csv.DictReader(file)
            ]


def _best(rows: Sequence[Row]) -> Row:
    """The row of the best epoch, the first of several."""
    return max(rows, key=lambda row: row["mean_iu"])


def holds_run(path: str | os.PathLike[str]) -> bool:
    """Whether there is a checkpoint to go on from."""
    return any(Path(path, name).exists() for name in CHECKPOINTS)


def _csv(rows: Sequence[Row]) -> bytes:
    return results.csv_table([rows[-1], *([row[column] for column in rows[-1]] for row in rows)])


def environment() -> dict[str, Any]:
    """Versions, commit and machine, as far as they can be found out."""
    packages = {}
    for name in ("numpy", "pillow", "cupy"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            packages[name] = metadata.version(name)
    return {
        "tinyfcn": tinyfcn.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        **packages,
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cpu_count": os.cpu_count(),
        "command": sys.argv,
    }


def _commit() -> str | None:
    """The commit this file was checked out at, with ``-dirty`` if any differ; None if none."""
    here = Path(__file__)
    # An installed copy can lie inside somebody else's repository, whose commit says nothing.
    ours = ("ls-files", "--error-unmatch", here.name)
    # Unlike "describe", "status" can do without writing to the index.
    status = ("status", "--porcelain=v2", "--branch", "--untracked-files=no")
    try:
        for command in (ours, status):
            done = subprocess.run(
                ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", *command],
                cwd=here.parent, capture_output=True, text=True, timeout=3, check=True,
            )  # fmt: skip
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    lines = done.stdout.splitlines()
    dirty = any(not line.startswith("#") for line in lines)
    return lines[0].removeprefix("# branch.oid ") + "-dirty" * dirty
