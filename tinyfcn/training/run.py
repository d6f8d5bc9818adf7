"""What a long training needs besides its loop: going on after a stop, scores, log, checkpoints.

A run can be stopped at any time and goes on bit by bit as if it had not been. What makes that
true: everything that changes is in the checkpoint (weights, optimizer, schedule, the generator
that dropout draws from, the loader's epoch and position, the running sums of the log), a
checkpoint is only ever taken between two steps, and augmentation draws from generators that
follow from the seed and the position alone.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tinyfcn import Tensor, backend, random, visualize
from tinyfcn.data import Batch, DataError, DataLoader, Sample, SegmentationDataset
from tinyfcn.files import atomic_write
from tinyfcn.metrics import Scores
from tinyfcn.nn import Module
from tinyfcn.optim import Optimizer, Schedule
from tinyfcn.training import checkpoint, report
from tinyfcn.training.checkpoint import CheckpointError
from tinyfcn.training.errors import Diverged, Interrupted, Stopped, sentence
from tinyfcn.training.evaluation import evaluate
from tinyfcn.training.run_folder import SCORES, Row, RunFolder
from tinyfcn.training.signals import StopSignals

SAVE_EVERY = 600.0  # seconds between checkpoints inside a long epoch
SHEET_ROWS = 6  # images on the sheet of predictions


@dataclass
class Progress:
    """How far a run is; part of the checkpoint.

    Attributes:
        epoch: epochs that are complete, evaluation included.
        iteration: optimizer steps taken.
        seconds: spent so far, all parts of an interrupted run together.
        trained: the steps of the running epoch are all taken, its evaluation is not complete.
        loss_sum, losses: of the batches since the last evaluation.
        best_mean_iu, best_epoch: the best evaluation so far; epoch 0 if there is none.
    """

    epoch: int = 0
    iteration: int = 0
    seconds: float = 0.0
    trained: bool = False
    loss_sum: float = 0.0
    losses: int = 0
    best_mean_iu: float = -math.inf
    best_epoch: int = 0


@dataclass(eq=False)
class Run:
    """A training and its folder; the loop that uses it stands in ``examples/train_voc.py``.

    Args:
        model: gives logits (N, C, H, W).
        optimizer, schedule: the schedule takes one step after each of the optimizer.
        loader: the training batches.
        validation: the data set of the scores.
        folder: where everything is written.
        iterations: optimizer steps in all.
        accumulate: batches whose gradients make one step. The step is made with the mean of
            their gradients, as Caffe's iter_size does; a rest at the end of an epoch makes a
            smaller group.
        about: what else the checkpoints hold, such as how to build the model again.
    """

    model: Module
    optimizer: Optimizer
    schedule: Schedule
    loader: DataLoader
    validation: SegmentationDataset
    folder: RunFolder
    iterations: int
    accumulate: int = 1
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.progress = Progress()
        self._stop = StopSignals()
        self._skipped_curves = False

    # ---- the loop's parts ----

    @contextlib.contextmanager
    def safely(self) -> Iterator[None]:
        """In this block Ctrl-C and SIGTERM end the run between two steps, and what was learnt is
        saved before the error of a file that cannot be used."""
        self._saved_at = time.monotonic()
        self._begun = self._saved_at - self.progress.seconds
        try:
            with self._stop.noted():
                yield
        except (DataError, OSError) as error:
            if not self.progress.losses:
                raise
            self._save(self.folder.last)
            raise Interrupted(
                f"{sentence(error)}; what was learnt before is saved in {self.folder.last}"
            ) from error

    def epochs(self) -> Iterator[int]:
        """The numbers of the epochs that are left; the last may be cut short by ``iterations``."""
        if self.progress.iteration < self.iterations or self.progress.losses:
            print(report.HEAD)
        while self.progress.iteration < self.iterations or self.progress.losses:
            yield self.progress.epoch + 1

    def steps(self) -> Iterator[tuple[Iterator[Batch], int]]:
        """The batches of each step that is left of this epoch, and how many these are."""
        if self.progress.trained:
            return
        self.model.train()
        label, done = self._label(self.progress.epoch + 1), self._images(self.loader.position)
        total = self._images(len(self.loader))
        with report.bar(total=total, initial=done, desc=f"epoch {label}") as self._bar:
            self._first = time.monotonic(), self.progress.iteration
            batches = iter(self.loader)
            left = len(self.loader) - self.loader.position
            while left and self.progress.iteration < self.iterations:
                size = min(self.accumulate, left)
                yield self._of_one_step(batches, size), size
                left -= size
            if not left:
                next(batches, None)  # the loader goes on to its next epoch
        self.progress.trained = True

    def note(self, loss: Tensor) -> None:
        """Add the loss of a batch to the mean of the epoch.

        Raises:
            Diverged: if it is not finite; the checkpoints are from before.
        """
        self._loss = float(loss.item())
        if not math.isfinite(self._loss):
            raise Diverged(self._when(f"the loss is {self._loss}"))
        self.progress.loss_sum += self._loss
        self.progress.losses += 1

    def after_step(self) -> None:
        """Count a step; the one place where a run can be stopped or saved inside an epoch.

        Raises:
            Stopped: on Ctrl-C or SIGTERM, after saving ``last.npz``.
        """
        self.progress.iteration += 1
        self._move_bar()
        self._stop_if_asked()
        if time.monotonic() - self._saved_at > SAVE_EVERY:
            self._save(self.folder.last)

    def finish_epoch(self) -> None:
        """Score the model, write the row of the log and the pictures, save.

        Raises:
            Stopped: on Ctrl-C or SIGTERM, after saving ``last.npz``.
            Diverged: if the weights are not finite; the checkpoints are from before.
        """
        self._check_weights()
        scores, sheet = self._evaluate()
        progress = self.progress
        train_loss = progress.loss_sum / max(1, progress.losses)
        better = scores.mean_iu > progress.best_mean_iu
        progress.epoch += 1
        progress.trained, progress.loss_sum, progress.losses = False, 0.0, 0
        if better:
            progress.best_mean_iu, progress.best_epoch = scores.mean_iu, progress.epoch
        progress.seconds = time.monotonic() - self._begun

        names = self.validation.classes
        rows = [row for row in self.folder.read_log() if row["epoch"] < progress.epoch]
        rows.append({
            "epoch": progress.epoch,
            "iteration": progress.iteration,
            "seconds": round(progress.seconds, 2),
            "train_loss": train_loss,
            **{name: getattr(scores, name) for name in SCORES},
            **{f"iu {name}": float(iu) for name, iu in zip(names, scores.iu, strict=True)},
        })  # fmt: skip
        line = report.row(self._label(progress.epoch), scores, train_loss, progress.seconds)
        print(line + ("  best" if better else ""))
        print(report.class_lines(scores, names), flush=True)
        # The log comes before the checkpoint: if the run ends between the two, the row is written
        # again when it goes on; the other way round it would be lost.
        self.folder.write_log(rows)
        self._write_curves(rows)
        if better:
            self._write_sheet(sheet)
            self._save(self.folder.best)
        self._save(self.folder.last)
        if progress.iteration < self.iterations:
            self._stop_if_asked()

    # ---- resume ----

    def state_dict(self) -> dict[str, Any]:
        """Everything that a checkpoint holds."""
        return {
            **self.about,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": random.get_state(),
            "loader": self.loader.state_dict(),
            "progress": asdict(self.progress),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint.

        Raises:
            CheckpointError: if it does not fit; says what does not.
        """
        own = [{**group} for group in self.optimizer.param_groups]
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            # This run's options hold: the saved ones, unless they were changed on purpose.
            for group, options in zip(self.optimizer.param_groups, own, strict=True):
                group.update(options)
            self.schedule.load_state_dict(state["schedule"])
            random.set_state(state["random"])
            self.loader.load_state_dict(state["loader"])
            self.progress = Progress(**state["progress"])
        except (KeyError, TypeError, ValueError) as error:
            what = f"it has no {error}" if isinstance(error, KeyError) else str(error)
            raise CheckpointError(f"the checkpoint does not fit this run: {what}") from error

    # ---- inside an epoch ----

    def _of_one_step(self, batches: Iterator[Batch], size: int) -> Iterator[Batch]:
        """So many batches; where one cannot be read, what those before it changed is undone, so
        that a checkpoint is of whole steps."""
        progress, position = replace(self.progress), self.loader.state_dict()
        drawn = random.get_state()
        # Where a step is of one batch, there is none before it and nothing to copy.
        buffers = [(b, b.data.copy()) for b in self.model.buffers()] if size > 1 else []
        try:
            yield from itertools.islice(batches, size)
        except (DataError, OSError):
            self.progress = progress
            self.loader.load_state_dict(position)
            random.set_state(drawn)
            for buffer, values in buffers:
                buffer.data[...] = values
            raise

    def _evaluate(self) -> tuple[Scores, list[visualize.Triple]]:
        """Scores on the validation set, and what the picture shows of it."""
        sheet = []
        places = np.linspace(0, len(self.validation) - 1, SHEET_ROWS)
        wanted = {self.validation.ids[round(place)] for place in places}

        def collect(samples: list[Sample], predictions: Any) -> None:
            for sample, prediction in zip(samples, predictions, strict=True):
                if sample.id in wanted:
                    sheet.append((sample.image, sample.mask, prediction))
            self._stop_if_asked()  # going on repeats this evaluation, no step

        samples = report.bar(self.validation, desc="evaluation")
        scores = evaluate(
            self.model, samples, self.validation.num_classes, self.loader.preprocessing,
            self.loader.batch_size, collect,
        )  # fmt: skip
        return scores, sheet

    def _stop_if_asked(self) -> None:
        if self._stop.number is not None:
            self._save(self.folder.last)
            raise Stopped(
                self._stop.number,
                f"iteration {self.progress.iteration} of {self.iterations} is saved in "
                f"{self.folder.last}",
            )

    # ---- files ----

    def _save(self, path: Path) -> None:
        self._check_weights()
        self._saved_at = time.monotonic()
        self.progress.seconds = self._saved_at - self._begun
        checkpoint.save(path, self.state_dict())

    def _check_weights(self) -> None:
        """A step can spoil the weights after a finite loss; such weights are never saved."""
        for name, tensor in self.model.state_tensors().items():
            if not bool(backend.active().xp.isfinite(tensor.data).all()):
                raise Diverged(self._when(f"{name} holds values that are not finite"))

    def _write_curves(self, rows: list[Row]) -> None:
        try:
            with atomic_write(self.folder.curves) as file:
                visualize.plot_curves(rows, file)
        except ImportError as error:
            if not self._skipped_curves:
                print(f"curves.png is skipped: {error}")
            self._skipped_curves = True

    def _write_sheet(self, sheet: list[visualize.Triple]) -> None:
        height = min(256, max(image.shape[0] for image, _, _ in sheet))
        picture = visualize.sheet(sheet, self.validation.classes, height=height)
        with atomic_write(self.folder.predictions) as file:
            picture.save(file, format="PNG")

    # ---- screen ----

    def _label(self, epoch: int) -> str:
        """``3/6``; the last epoch may be cut short by ``iterations``."""
        steps = math.ceil(len(self.loader) / self.accumulate)
        return f"{epoch}/{math.ceil(self.iterations / steps)}"

    def _images(self, batches: int) -> int:
        return min(batches * self.loader.batch_size, len(self.loader.dataset))

    def _move_bar(self) -> None:
        started, first = self._first
        pace = (time.monotonic() - started) / (self.progress.iteration - first)
        left = report.minutes(pace * (self.iterations - self.progress.iteration))
        self._bar.set_postfix_str(f"loss {self._loss:.4g}, {left} left in all", False)
        self._bar.update(self._images(self.loader.position) - self._bar.n)

    def _when(self, what: str) -> str:
        kept = "no checkpoint was written yet"
        if self.folder.last.exists():
            kept = f"the checkpoint of before is kept ({self.folder.last})"
        epoch, iteration = self.progress.epoch + 1, self.progress.iteration + 1
        return f"{what} in epoch {epoch}, iteration {iteration}; {kept}"
