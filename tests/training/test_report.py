"""Progress bars: seen on every kind of terminal, and rare in files."""

from __future__ import annotations

import io
import os
import struct
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
    assert "? images/s, ? left" in said


def test_a_narrow_terminal_that_shows_the_bars_alone() -> None:
    """As under ``| tee log``, where standard output is none."""
    pty, fcntl, termios = map(pytest.importorskip, ("pty", "fcntl", "termios"))
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    subprocess.run(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.DEVNULL, stderr=terminal,
        env={**environment, "PYTHONPATH": str(ROOT)}, check=True,
    )  # fmt: skip
    os.close(terminal)
    lines = os.read(controller, 10_000).decode().split("\r")
    os.close(controller)
    assert max(map(len, lines)) == 60


def test_a_width_of_nothing_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    # What Python 3.10 says of a terminal that does not tell; newer ones say 80 × 24.
    monkeypatch.setattr(report.shutil, "get_terminal_size", lambda *_: (0, 0))
    assert report.class_lines(scores(np.eye(2)), ["sky", "sea"]).strip() == "sky 1.00  sea 1.00"
    with report.bar(total=2) as bar:
        assert (bar.ncols, bar.nrows) == (80, 24)


LABELS = ["epoch 1/2", "epoch 100/100"]
TAILS = ["loss 0.4321, 2:05 left in all", "loss 1.234e+05, 11:12:05 left in all", None]


@pytest.mark.parametrize("columns", [40, 60, 79, 80, 99, 100, 120, 300])
@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("tail", TAILS)
def test_the_line_fits_and_ends_in_loss_and_time(
    columns: int, label: str, tail: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "_terminal", lambda: (columns, 24))
    with report.bar(total=10582, initial=10000, desc=label, file=io.StringIO()) as bar:
        if tail:
            bar.set_postfix_str(tail, False)
        bar._ema_dn, bar._ema_dt = lambda: 1131.52, lambda: 1  # images, seconds
        line = str(bar)
        assert len(line) <= columns
        if columns >= 60:
            assert line.startswith(f"{label}  95%|")
            assert line.endswith(tail or "00:00 left")
        assert ("1131.52 images/s" in line) == (columns >= 80)
        assert ("10000/10582" in line) == (columns >= 100)
        # What matters most is there on the narrowest too.
        assert tail is None or tail.split(",")[0] in line
        monkeypatch.setattr(report, "_terminal", lambda: (40, 24))
        assert len(str(bar)) <= 40  # a window was made smaller
