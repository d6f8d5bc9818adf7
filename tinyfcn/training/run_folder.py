"""The run folder: everything that tells what a training run was and how it went.

config.json       every argument, the versions of what computed, the commit, the machine
log.csv           one row an epoch
curves.png        loss and scores over the epochs (needs matplotlib)
predictions.png   image, truth and prediction side by side
last.npz          checkpoint to go on from
best.npz          checkpoint of the best mean IU so far
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import tinyfcn
from tinyfcn.files import atomic_write

SCORES = ("pixel_accuracy", "mean_accuracy", "mean_iu", "fw_iu")  # columns of the log

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
        >>> run.write_log([{"epoch": 1, "mean_iu": 0.25, "iu cat": math.nan}])
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
        self.config = self.path / "config.json"
        self.log = self.path / "log.csv"
        self.curves = self.path / "curves.png"
        self.predictions = self.path / "predictions.png"
        self.last = self.path / "last.npz"
        self.best = self.path / "best.npz"

    def write_config(self, arguments: Mapping[str, Any], **more: Any) -> None:
        """Write ``config.json``: the arguments, ``more``, and what they ran on."""
        config = {"arguments": dict(arguments), **more, "environment": environment()}
        with atomic_write(self.config) as file:
            file.write((json.dumps(config, indent=2, default=str) + "\n").encode())

    def write_log(self, rows: Sequence[Row]) -> None:
        """Write ``log.csv`` anew: it is small, and so it is never half a row."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, rows[-1])
        writer.writeheader()
        for row in rows:
            writer.writerow({k: "" if math.isnan(value) else value for k, value in row.items()})
        with atomic_write(self.log) as file:
            file.write(text.getvalue().encode())

    def read_log(self) -> list[Row]:
        """The rows of ``log.csv``, none if there is no such file; an empty cell is NaN."""
        if not self.log.exists():
            return []
        with open(self.log, newline="", encoding="utf-8") as file:
            return [
                {key: json.loads(text or "NaN") for key, text in row.items()}
                for row in csv.DictReader(file)
            ]


def environment() -> dict[str, Any]:
    """Versions, commit and machine, as far as they can be found out."""
    packages = {}
    for name in ("numpy", "scipy", "pillow", "matplotlib", "cupy"):
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
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
    describe = ("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    try:
        for command in (ours, describe):
            done = subprocess.run(
                ["git", *command],
                cwd=here.parent, capture_output=True, text=True, timeout=10, check=True,
            )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
