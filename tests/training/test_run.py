"""The loop: an interrupted run ends as an uninterrupted one, and nothing that fails loses work."""

from __future__ import annotations

import itertools
import math
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinyfcn.functional as F
from tinyfcn import Tensor, metrics, optim
from tinyfcn.data import DataError
from tinyfcn.training import checkpoint, saver
from tinyfcn.training import run as run_module
from tinyfcn.training.checkpoint import CheckpointError
from tinyfcn.training.errors import Diverged, Interrupted, Stopped
from tinyfcn.training.run import Run

pytestmark = pytest.mark.usefixtures("no_curves")
Make = Callable[..., Any]


def everything(state: Any) -> Any:
    """A checkpoint in a form that ``==`` compares to the last bit; times are left out."""
    if isinstance(state, Mapping):
        return {key: everything(part) for key, part in state.items() if key != "seconds"}
    if isinstance(state, list | tuple):
        return [everything(part) for part in state]
    if isinstance(state, np.ndarray):
        return state.dtype.str, state.shape, state.tobytes()
    return state


def log(run: Run) -> list[dict[str, str]]:
    rows = run.folder.read_log()
    return [{key: repr(value) for key, value in row.items() if key != "seconds"} for row in rows]


def stop_in_step(run: Run, iteration: int) -> None:
    """As Ctrl-C does while the loss of this step is computed."""
    loss = run.loss

    def interrupted(logits: Tensor, labels: Tensor) -> Tensor:
        if run.progress.iteration == iteration:
            run._stop.number = signal.SIGINT
        return loss(logits, labels)

    run.loss = interrupted


# 5 batches an epoch: the first step, the middle, the end of an epoch, one after another.
@pytest.mark.parametrize("stops", [[0], [2], [4], [5], [11], [1, 2, 7]])
@pytest.mark.parametrize(("accumulate", "workers"), [(1, 2), (2, 0)])
def test_interrupted_is_bit_identical(
    tmp_path: Path, make_trainer: Make, stops: list[int], accumulate: int, workers: int
) -> None:
    straight = make_trainer(tmp_path / "straight", accumulate=accumulate, workers=workers)
    straight.fit()
    parts = make_trainer(tmp_path / "parts", accumulate=accumulate, workers=2 - workers)
    for stop in stops:
        stop_in_step(parts, stop)
        with pytest.raises(Stopped, match=r"last\.npz"):
            parts.fit()
        assert parts.progress.iteration == stop + 1
        parts = make_trainer(tmp_path / "parts", accumulate=accumulate, workers=workers)
        parts.load_state_dict(checkpoint.load(parts.folder.last))
    parts.fit()
    for name in ("last", "best"):
        paths = [getattr(run.folder, name) for run in (straight, parts)]
        states = [everything(checkpoint.load(path)) for path in paths]
        assert states[0] == states[1]
    assert log(parts) == log(straight)
    assert parts.folder.predictions.read_bytes() == straight.folder.predictions.read_bytes()
    epochs = [row["epoch"] for row in parts.folder.read_log()]
    assert epochs == list(range(1, len(epochs) + 1))


def test_stopped_while_evaluating(
    tmp_path: Path, make_trainer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = make_trainer(tmp_path / "straight")
    straight.fit()
    parts = make_trainer(tmp_path / "parts")
    update = metrics.ConfusionMatrix.update

    def interrupted(self: metrics.ConfusionMatrix, *labels: Any) -> None:
        if parts.progress.epoch == 1:
            parts._stop.number = signal.SIGINT
        update(self, *labels)

    with monkeypatch.context() as patch:
        patch.setattr(metrics.ConfusionMatrix, "update", interrupted)
        with pytest.raises(Stopped):
            parts.fit()
    assert parts.progress.trained
    parts = make_trainer(tmp_path / "parts")
    parts.load_state_dict(checkpoint.load(parts.folder.last))
    parts.fit()
    states = [everything(checkpoint.load(run.folder.last)) for run in (straight, parts)]
    assert states[0] == states[1]
    assert log(parts) == log(straight)


def test_rows_newer_than_the_checkpoint_are_dropped(tmp_path: Path, make_trainer: Make) -> None:
    run = make_trainer(tmp_path, iterations=5)
    run.fit()
    early = checkpoint.load(run.folder.last)
    longer = make_trainer(tmp_path, iterations=15)
    longer.load_state_dict(early)
    longer.fit()
    before = log(longer)
    assert len(before) == 3
    again = make_trainer(tmp_path, iterations=15)
    again.load_state_dict(early)
    again.fit()
    assert log(again) == before


def test_what_a_run_leaves(tmp_path: Path, make_trainer: Make) -> None:
    run = make_trainer(tmp_path, iterations=7)
    run.fit()
    progress = run.progress
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        "best.npz", "curves.png", "last.npz", "log.csv", "predictions.png", "previous.npz",
        "report.html",
    ]  # fmt: skip
    assert checkpoint.load(run.folder.previous)["progress"]["iteration"] == 5
    rows = run.folder.read_log()
    assert [row["iteration"] for row in rows] == [5, 7]
    assert progress.best_mean_iu == max(row["mean_iu"] for row in rows)
    assert checkpoint.load(run.folder.best)["progress"]["epoch"] == progress.best_epoch
    assert rows[0]["seconds"] <= rows[1]["seconds"]


def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path, make_trainer: Make) -> None:
    make_trainer(tmp_path, iterations=5).fit()
    again = make_trainer(tmp_path, iterations=5)
    again.load_state_dict(checkpoint.load(again.folder.last))
    before = again.folder.last.read_bytes()
    again.fit()
    assert again.progress.iteration == 5
    assert again.folder.last.read_bytes() == before


def test_accumulated_gradients_are_those_of_the_large_batch(
    tmp_path: Path, make_trainer: Make
) -> None:
    """Without what depends on the batch, 2 × 2 images make the same step as 4 at once."""
    weights = []
    for batch_size, accumulate in ((4, 1), (2, 2)):
        run = make_trainer(tmp_path / str(accumulate), iterations=1, accumulate=accumulate)
        run.loader.batch_size = batch_size
        run.loader.transform = None
        model = run.model.eval()
        model.train = lambda mode=True, model=model: model  # type: ignore[method-assign]
        # Adam would hide a factor on the gradients.
        run.optimizer = optim.SGD(model.parameters(), lr=0.1)
        run.schedule = optim.ConstantLR(run.optimizer)
        before = model.state_dict()["0.weight"]
        run.loss = _sum_over_pixels(batch_size)
        run.fit()
        weights.append(model.state_dict()["0.weight"] - before)
    assert np.abs(weights[0]).max() > 1e-3
    np.testing.assert_allclose(weights[0], weights[1], rtol=1e-3, atol=1e-6)


def test_a_smaller_last_group_is_divided_by_its_own_size(
    tmp_path: Path, make_trainer: Make
) -> None:
    """Of 5 batches in groups of 4 the last is alone: its step is that of groups of 1."""
    begun = make_trainer(tmp_path, iterations=2, accumulate=4)
    stop_in_step(begun, 0)
    with pytest.raises(Stopped):
        begun.fit()
    weights = []
    for accumulate in (4, 1):
        run = make_trainer(tmp_path / str(accumulate), iterations=2, accumulate=accumulate)
        run.load_state_dict(checkpoint.load(begun.folder.last))
        run.fit()
        weights.append(everything(run.model.state_dict()))
    assert weights[0] == weights[1] != everything(begun.model.state_dict())


def _sum_over_pixels(images: int) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda logits, labels: (
        F.cross_entropy(logits, labels, ignore_index=255, reduction="sum") / (1000.0 * images)
    )


def test_the_logged_loss_is_the_mean_over_the_batches_of_the_epoch(
    tmp_path: Path, make_trainer: Make
) -> None:
    run = make_trainer(tmp_path, iterations=10)
    loss, losses = run.loss, []

    def noted(logits: Tensor, labels: Tensor) -> Tensor:
        result = loss(logits, labels)
        losses.append(result.item())
        return result

    run.loss = noted
    run.fit()
    logged = [row["train_loss"] for row in run.folder.read_log()]
    assert logged == pytest.approx([np.mean(losses[:5]), np.mean(losses[5:])])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_its_step(
    tmp_path: Path, make_trainer: Make, bad: float
) -> None:
    run = make_trainer(tmp_path, iterations=15)
    loss = run.loss

    def spoiled(logits: Tensor, labels: Tensor) -> Tensor:
        return loss(logits, labels) * (bad if run.progress.iteration == 7 else 1.0)

    run.loss = spoiled
    with pytest.raises(Diverged, match=r"epoch 2, iteration 8.*last\.npz"):
        run.fit()
    state = checkpoint.load(run.folder.last)
    assert state["progress"]["iteration"] == 7
    assert checkpoint.load(run.folder.previous)["progress"]["iteration"] == 5
    assert all(np.isfinite(array).all() for array in state["model"].values())


def test_spoiled_weights_are_never_saved(tmp_path: Path, make_trainer: Make) -> None:
    run = make_trainer(tmp_path, iterations=15)
    step = run.schedule.step

    def spoil() -> None:
        step()
        if run.schedule.iteration == 10:  # the last step of the second epoch
            next(run.model.parameters()).data[...] = np.nan

    run.schedule.step = spoil  # type: ignore[method-assign]
    with pytest.raises(Diverged, match=r"0\.weight"):
        run.fit()
    assert checkpoint.load(run.folder.last)["progress"]["epoch"] == 1


def test_spoiled_weights_are_not_saved_when_stopped(tmp_path: Path, make_trainer: Make) -> None:
    run = make_trainer(tmp_path, iterations=15)
    loss = run.loss

    def spoiled(logits: Tensor, labels: Tensor) -> Tensor:
        result = loss(logits, labels)
        if run.progress.iteration == 7:
            run._stop.number = signal.SIGINT
            next(run.model.parameters()).data[...] = np.nan
        return result

    run.loss = spoiled
    with pytest.raises(Diverged):
        run.fit()
    assert checkpoint.load(run.folder.last)["progress"]["iteration"] == 5


def test_a_bad_file_saves_what_was_learnt(
    tmp_path: Path, make_trainer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_trainer(tmp_path, workers=0)
    read = type(run.validation).read_mask

    def spoiled(self: Any, path: Path) -> Any:
        if path.name.startswith("val") and run.progress.iteration >= 5:
            raise DataError(f"{path}: damaged")
        return read(self, path)

    with monkeypatch.context() as patch:
        patch.setattr(type(run.validation), "read_mask", spoiled)
        with pytest.raises(Interrupted, match=r"val.*damaged.*saved.*last\.npz"):
            run.fit()
    straight = make_trainer(tmp_path / "straight")
    straight.fit()
    resumed = make_trainer(tmp_path)
    resumed.load_state_dict(checkpoint.load(run.folder.last))
    assert resumed.progress.iteration == 5
    resumed.fit()
    assert log(resumed) == log(straight)


# Samples 7 and 8 are the second batch of the second step; 13 and 14 that of the second epoch.
@pytest.mark.parametrize(("read", "steps"), [(7, 1), (13, 3)])
def test_a_bad_file_inside_a_step_undoes_what_its_batches_changed(
    tmp_path: Path, make_trainer: Make, monkeypatch: pytest.MonkeyPatch, read: int, steps: int
) -> None:
    run = make_trainer(tmp_path / "parts", accumulate=2, workers=0)
    reads = itertools.count(1)
    read_mask = type(run.validation).read_mask

    def spoiled(self: Any, path: Path) -> Any:
        if path.name.startswith("train") and next(reads) == read:
            raise DataError(f"{path}: damaged")
        return read_mask(self, path)

    with monkeypatch.context() as patch:
        patch.setattr(type(run.validation), "read_mask", spoiled)
        with pytest.raises(DataError, match="damaged"):
            run.fit()
    resumed = make_trainer(tmp_path / "parts", accumulate=2)
    resumed.load_state_dict(checkpoint.load(run.folder.last))
    assert resumed.progress.iteration == steps
    resumed.fit()
    straight = make_trainer(tmp_path / "straight", accumulate=2)
    straight.fit()
    assert log(resumed) == log(straight)
    states = [everything(checkpoint.load(run.folder.last)) for run in (straight, resumed)]
    assert states[0] == states[1]


def test_a_full_disk_ends_the_run_with_the_old_checkpoint(
    tmp_path: Path, make_trainer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_trainer(tmp_path, iterations=5)
    run.fit()
    before = run.folder.last.read_bytes()
    run = make_trainer(tmp_path, iterations=10)
    run.load_state_dict(checkpoint.load(run.folder.last))

    def full(*anything: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.npz, "write", full)
    with pytest.raises(CheckpointError, match=r"No space left.*untouched"):
        run.fit()
    assert run.folder.last.read_bytes() == before


def test_saves_inside_long_epochs(
    tmp_path: Path, make_trainer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(saver, "SHARE", 1e9)
    run = make_trainer(tmp_path, iterations=5)
    saved: list[int] = []
    monkeypatch.setattr(
        checkpoint, "save", lambda path, state, *rest: saved.append(state["progress"]["iteration"])
    )
    run.fit()
    assert saved[:5] == [1, 2, 3, 4, 5]


def test_a_checkpoint_of_another_model_is_rejectd(tmp_path: Path, make_trainer: Make) -> None:
    run = make_trainer(tmp_path, iterations=5)
    run.fit()
    state = checkpoint.load(run.folder.last)
    del state["model"]["0.weight"]
    state["model"]["other"] = np.ones(3)
    with pytest.raises(CheckpointError, match=r"(?s)missing: 0\.weight.*unexpected: other"):
        run.load_state_dict(state)
    state = checkpoint.load(run.folder.last)
    del state["optimizer"]
    with pytest.raises(CheckpointError, match="it has no 'optimizer'"):
        run.load_state_dict(state)


def test_another_learning_rate_on_resume(tmp_path: Path, make_trainer: Make) -> None:
    make_trainer(tmp_path, iterations=5).fit()
    run = make_trainer(tmp_path, iterations=10, lr=1e-3)
    run.load_state_dict(checkpoint.load(run.folder.last))
    assert run.optimizer.param_groups[0]["initial_lr"] == 1e-3
    assert run.optimizer.param_groups[0]["lr"] == pytest.approx(1e-3 * 0.95**0.9)
