"""Whatever is raised, wherever: whole steps alone are saved, and the run goes on from the last."""

from __future__ import annotations

import io
import itertools
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinyfcn import Tensor, metrics, nn, optim, visualize
from tinyfcn.data import DataError, VOCSegmentation
from tinyfcn.training import checkpoint, saver
from tinyfcn.training import run as run_module
from tinyfcn.training.checkpoint import CheckpointError
from tinyfcn.training.errors import Diverged, Interrupted, Stopped

pytestmark = pytest.mark.usefixtures("no_curves")
Make = Callable[..., Any]
Patch = pytest.MonkeyPatch
FULL = OSError(28, "No space left on device")


FILES = {
    "best.npz", "curves.png", "last.npz", "log.csv", "predictions.png", "previous.npz",
    "report.html",
}  # fmt: skip
_straight: dict[Any, Any] = {}


@pytest.fixture
def straight(
    make_trainer: Make, outcome: Any, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Any]:
    """What a run comes to that nothing disturbs; made once."""

    def of(*arguments: int) -> Any:
        if arguments not in _straight:
            folder = tmp_path_factory.mktemp("straight")
            make_trainer(folder, *arguments).fit()
            _straight[arguments] = outcome(folder)
        return _straight[arguments]

    return of


def break_at(calls: set[int], function: Any, error: BaseException, after: bool = False) -> Any:
    """The function, but that some calls of it raise, before or after they have done their work."""
    count = itertools.count(1)

    def broken(*arguments: Any, **options: Any) -> Any:
        breaks = next(count) in calls
        if breaks and not after:
            raise error
        result = function(*arguments, **options)
        if breaks:
            raise error
        return result

    return broken


# Steps are of 2 + 2 + 1 batches, 3 an epoch. What breaks, at which of its calls, before or after
# its work; what is raised; and how many steps are then saved.
BROKEN = {
    "reading": (VOCSegmentation, "read_mask", 7, False, DataError("damaged"), 1),
    "reading, at the end of memory": (VOCSegmentation, "read_mask", 13, False, MemoryError(), 3),
    "the first forward pass": (nn.Conv2d, "forward", 1, True, MemoryError(), 0),
    "a forward pass": (nn.Conv2d, "forward", 7, True, MemoryError(), 1),
    "a forward pass, after dropout": (nn.Dropout, "forward", 4, True, KeyboardInterrupt(), 1),
    "a backward pass": (Tensor, "backward", 4, True, BrokenPipeError(32, "Broken pipe"), 1),
    "before the optimizer": (optim.Adam, "step", 2, False, OSError(5, "Input/output error"), None),
    "after the optimizer": (optim.Adam, "step", 5, True, KeyboardInterrupt(), None),
    "between optimizer and schedule": (optim.Adam, "zero_grad", 3, True, MemoryError(), None),
    "the schedule": (optim.LinearWarmup, "step", 4, True, ZeroDivisionError(), None),
    "the bar": (run_module.Run, "_move_bar", 4, False, KeyboardInterrupt(), 4),
    "a score": (metrics.ConfusionMatrix, "update", 1, True, MemoryError(), 3),
    "the last score": (metrics.ConfusionMatrix, "scores", 2, False, KeyboardInterrupt(), 6),
    "a picture": (visualize, "sheet", 1, True, KeyboardInterrupt(), 3),
    "a save": (checkpoint.npz, "write", 3, True, KeyboardInterrupt(), 6),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_only_whole_steps_are_saved(
    tmp_path: Path, make_trainer: Make, outcome: Any, straight: Any, monkeypatch: Patch, broken: str
) -> None:
    owner, name, call, after, error, steps = BROKEN[broken]
    expected = straight(6, 2)
    run = make_trainer(tmp_path, 6, 2, workers=0)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, break_at({call}, getattr(owner, name), error, after))
        kinds = {KeyboardInterrupt: (KeyboardInterrupt, Stopped), DataError: Interrupted}
        with pytest.raises(kinds.get(type(error), (type(error), Interrupted))):
            run.fit()
    resumed = make_trainer(tmp_path, 6, 2)
    if resumed.folder.last.exists():
        resumed.load_state_dict(checkpoint.load(resumed.folder.last))
        saved = resumed.progress.iteration
        # Where weights are half changed, that is the end of the first epoch.
        assert saved == (3 if steps is None else steps)
    else:
        assert steps == 0 or (steps is None and call <= 3)
    resumed.fit()
    assert outcome(tmp_path) == expected


def test_what_is_lost_is_said(
    tmp_path: Path, make_trainer: Make, monkeypatch: Patch, capsys: pytest.CaptureFixture[str]
) -> None:
    for call, words in (2, "iteration 2 is lost; no checkpoint"), (6, "of iteration 5 is kept"):
        run = make_trainer(tmp_path / str(call))
        with monkeypatch.context() as patch, pytest.raises(MemoryError):
            patch.setattr(optim.Adam, "step", break_at({call}, optim.Adam.step, MemoryError()))
            run.fit()
        assert words in capsys.readouterr().err


class Unwritable(io.TextIOBase):
    """A screen that nobody reads, or that knows few letters."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def write(self, text: str) -> int:
        raise self.error

    def flush(self) -> None:
        self.write("")


def encoding_error() -> UnicodeEncodeError:
    return UnicodeEncodeError("ascii", "Zürich", 1, 2, "ordinal not in range(128)")


def screens(patch: Patch, error: Exception) -> None:
    for name in ("stdout", "stderr"):
        patch.setattr(sys, name, Unwritable(error))


def file(name: str, *calls: int) -> Callable[[Patch, Exception], None]:
    """What makes the writing of that file fail."""

    def make(patch: Patch, error: Exception) -> None:
        writers = {"predictions": "write_sheet"}
        owner, writer = run_module.RunFolder, writers.get(name, f"write_{name}")
        patch.setattr(owner, writer, break_at({*calls}, getattr(owner, writer), error))

    return make


# What fails, and what cannot be written then.
LESSER = {
    "screen: a dead pipe": (screens, BrokenPipeError(32, "Broken pipe")),
    "screen: few letters": (screens, encoding_error()),
    "screen: full": (screens, FULL),
    "screen: closed": (screens, ValueError("I/O operation on closed file")),
    "curves.png: full": (file("curves", 1, 2), FULL),
    "curves.png: any failure": (file("curves", 1), ZeroDivisionError("in a curve")),
    "predictions.png: memory": (file("predictions", 1), MemoryError()),
    "predictions.png: letters": (file("predictions", 1), encoding_error()),
    "report.html: full": (file("report", 1), FULL),
    "report.html: any failure": (file("report", 1), ZeroDivisionError("in a table")),
    "README.md: any failure": (file("card", 1, 2), ZeroDivisionError("in a table")),
    "log.csv: full": (file("log", 1, 2), FULL),
    "log.csv: not ours to write": (file("log", 2), PermissionError(13, "Permission denied")),
}


@pytest.mark.parametrize("lesser", LESSER)
def test_what_counts_less_than_weights_ends_no_run(
    tmp_path: Path, make_trainer: Make, outcome: Any, straight: Any, monkeypatch: Patch,
    capsys: pytest.CaptureFixture[str], lesser: str,
) -> None:  # fmt: skip
    fail, error = LESSER[lesser]
    expected = straight(15)
    run = make_trainer(tmp_path, iterations=15)
    capsys.readouterr()
    with monkeypatch.context() as patch:
        fail(patch, error)
        run.fit()
    assert outcome(tmp_path) == expected
    assert {*os.listdir(tmp_path)} == FILES
    if fail is not screens:
        name = lesser.partition(":")[0]
        assert capsys.readouterr().err.count(f"{name} is skipped: ") == 1


def test_what_could_not_be_written_is_written_at_the_end(
    tmp_path: Path, make_trainer: Make, monkeypatch: Patch
) -> None:
    run = make_trainer(tmp_path, iterations=3)  # one epoch
    names = ("log.csv", "curves.png", "predictions.png", "report.html")
    for name in names:
        file(name.partition(".")[0], 1)(monkeypatch, FULL)
    run.fit()
    assert {*names} <= {*os.listdir(tmp_path)}


def test_the_row_of_an_epoch_that_was_saved_comes_back(
    tmp_path: Path, make_trainer: Make, outcome: Any, straight: Any, monkeypatch: Patch
) -> None:
    expected = straight(15)
    run = make_trainer(tmp_path, iterations=15)
    with monkeypatch.context() as patch:
        patch.setattr(run_module.RunFolder, "write_log", lambda *rows: None)
        run.fit()
    assert not run.folder.log.exists()
    resumed = make_trainer(tmp_path, iterations=15)
    resumed.load_state_dict(checkpoint.load(run.folder.last))
    resumed.fit()  # there is no step left
    assert outcome(tmp_path) == expected


@pytest.mark.parametrize("spoilt", ["stopped", "running"])
def test_a_checkpoint_that_cannot_be_written_is_tried_again(
    tmp_path: Path, make_trainer: Make, outcome: Any, straight: Any, monkeypatch: Patch,
    capsys: pytest.CaptureFixture[str], spoilt: str,
) -> None:  # fmt: skip
    """Inside a run; a stop that cannot be saved is an error."""
    expected = straight(15)
    run = make_trainer(tmp_path, iterations=15)
    monkeypatch.setattr(run_module, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(saver, "SHARE", 1e9)
    capsys.readouterr()
    with monkeypatch.context() as patch:
        broken = break_at({2, 3, 4}, checkpoint.npz.write, FULL)
        patch.setattr(checkpoint.npz, "write", broken)
        if spoilt == "stopped":
            patch.setattr(run_module, "SAVE_EVERY", 1e9)
            patch.setattr(optim.Adam, "step", stops_at(7, run))
            with pytest.raises(CheckpointError, match="No space left"):
                run.fit()
            return
        run.fit()
    assert capsys.readouterr().err.count("last.npz is skipped: ") == 1
    assert outcome(tmp_path) == expected


def stops_at(call: int, run: Any) -> Any:
    count, step = itertools.count(1), optim.Adam.step

    def stopping(self: optim.Adam) -> None:
        step(self)
        if next(count) == call:
            run._stop.number = signal.SIGTERM

    return stopping


class Planted(nn.Module):
    """A layer that is fine until it is told."""

    def __init__(self, fault: Callable[[Tensor], Tensor]) -> None:
        self.fault, self.on = fault, False

    def forward(self, x: Tensor) -> Tensor:
        return self.fault(x) if self.on else x


FAULTS = {
    "the log of a negative number": (lambda x: (x * 0 - 1).log() + x, "Log in suspect (Planted)"),
    "zero by zero": (lambda x: x + (x * 0) / (x * 0), "Div in suspect (Planted)"),
    "infinity": (lambda x: x + ((x * 0 + 200).exp()), "Exp in suspect (Planted)"),
    "the gradient of a root of zero": (
        lambda x: x + (x * 0).sqrt(), "the backward pass of Sqrt in suspect (Planted)",
    ),
    "the gradient of a power of zero": (
        lambda x: x + (x * 0) ** 0.25, "the backward pass of Pow in suspect (Planted)",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of the planted faults
@pytest.mark.parametrize("fault", FAULTS)
def test_where_a_run_diverges_the_layer_is_named(
    tmp_path: Path, make_trainer: Make, fault: str
) -> None:
    function, words = FAULTS[fault]
    run = make_trainer(tmp_path, workers=0)
    layers = list(run.model.children())
    names = ("conv", "norm", "relu", "suspect", "score")
    suspect = Planted(function)
    run.model = nn.Sequential(dict(zip(names, [*layers[:3], suspect, layers[4]], strict=True)))
    loss, count = run.loss, itertools.count(1)

    def counting(logits: Tensor, labels: Any) -> Tensor:
        suspect.on = next(count) >= 7
        return loss(logits, labels)

    run.loss = counting
    saved = r"iteration 7 of [0-9]+ is saved in .*last\.npz"
    expected = rf"in epoch 2, iteration 8: .*{re.escape(words)}.* {saved}"
    with pytest.raises(Diverged, match=expected):
        run.fit()
    weights = run.model.state_dict().values()
    assert all(np.isfinite(array).all() for array in weights), "the step was not made"
