"""Progress bars: seen on every kind of terminal, and rare in files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinyfcn.metrics import scores
from tinyfcn.training import report

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
from tinyfcn.training import report
bar = report.bar(total=40, desc="epoch 1/2")
for loss in range(8):
    bar.set_postfix_str(f"loss {loss}", False)
    bar.update(5)
bar.close()
"""


def test_a_terminal_that_does_not_tell_its_size_shows_the_bar() -> None:
    pty = pytest.importorskip("pty")
    controller, terminal = pty.openpty()
    subprocess.run(
        [sys.executable, "-c", PROGRAM], stdin=terminal, stdout=terminal, stderr=terminal,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True,
    )  # fmt: skip
    os.close(terminal)
    said = os.read(controller, 10_000).decode()
    os.close(controller)
    assert "epoch 1/2   0%" in said
    assert "/40" in said


def test_a_width_of_nothing_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    # What Python 3.10 says of a terminal that does not tell; newer ones say 80 × 24.
    monkeypatch.setattr(report.shutil, "get_terminal_size", lambda: (0, 0))
    assert report.class_lines(scores(np.eye(2)), ["sky", "sea"]).strip() == "sky 1.00  sea 1.00"
    with report.bar(total=2) as bar:
        assert (bar.ncols, bar.nrows) == (80, 24)
