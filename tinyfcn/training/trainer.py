"""The training loop: epochs of gradient steps, each followed by an evaluation and a checkpoint.

A run can be stopped at any time and goes on bit by bit as if it had not been. What makes that
true: everything that changes is in the checkpoint (weights, optimizer, schedule, the generator
that dropout draws from, the loader's epoch and position, the running sums of the log), a
checkpoint is only ever taken between two steps, and augmentation draws from generators that
follow from the seed and the position alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tinyfcn import Tensor, backend, random, visualize
from tinyfcn.data import Batch, DataError, DataLoader, Sample, SegmentationDataset
from tinyfcn.files import atomic_write
from tinyfcn.functional.normalization import BatchTooSmall
from tinyfcn.metrics import Scores
from tinyfcn.nn import Module
from tinyfcn.optim import Optimizer, Schedule
from tinyfcn.training import checkpoint, report
from tinyfcn.training.checkpoint import CheckpointError
from tinyfcn.training.errors import Diverged, Stopped, UsageError, sentence
from tinyfcn.training.evaluation import evaluate
from tinyfcn.training.objective import Loss, total_loss
from tinyfcn.training.run_folder import RunFolder, iu_column
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


class Trainer:
    """Trains a model and keeps a run folder.

    Args:
        model: gives logits (N, C, H, W); where it has auxiliary heads, their losses are added with
            the weights that it declares, see :mod:`tinyfcn.training.objective`.
        loss: called with logits and labels (a NumPy array), gives a scalar Tensor.
        optimizer, schedule: the schedule takes one step after each of the optimizer.
        loader: the training batches.
        validation: the data set of the scores.
        run: where everything is written.
        iterations: optimizer steps in all.
        accumulate: batches whose gradients make one step. The step is made with the mean of
            their gradients, as Caffe's iter_size does; a rest at the end of an epoch makes a
            smaller group.
        about: what else the checkpoints hold, such as how to build the model again.
    """

    def __init__(
        self,
        model: Module,
        loss: Loss,
        optimizer: Optimizer,
        schedule: Schedule,
        loader: DataLoader,
        validation: SegmentationDataset,
        run: RunFolder,
        iterations: int,
        accumulate: int = 1,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.schedule = schedule
        self.loader = loader
        self.validation = validation
        self.run = run
        self.iterations = iterations
        self.accumulate = accumulate
        self.about = dict(about or {})
        self.progress = Progress()
        self.rows: list[dict[str, float]] = []
        self._position = loader.state_dict()  # of the loader, after the last whole step
        self._stop = StopSignals()
        self._saved_at = self._clock = time.monotonic()
        self._table_begun = self._skipped_curves = False

    @property
    def epochs(self) -> int:
        """Epochs in all; the last one may be cut short by ``iterations``."""
        return math.ceil(self.iterations / math.ceil(len(self.loader) / self.accumulate))

    def fit(self) -> Progress:
        """Train until ``iterations`` steps are taken and evaluated.

        Raises:
            Stopped: on Ctrl-C or SIGTERM, after saving ``last.npz``.
            Diverged: if the loss is not finite; the checkpoints are from before.
            DataError: if a file cannot be used, after saving ``last.npz``.
            UsageError: if a batch is too small for the network's batch normalization.
        """
        self._clock = self._saved_at = time.monotonic()
        with self._stop:
            try:
                while self.progress.iteration < self.iterations or self.progress.losses:
                    self._train_epoch()
                    self._finish_epoch()
            except (DataError, OSError) as error:
                if not self.progress.losses:
                    raise
                self._save(self.run.last)
                raise DataError(
                    f"{sentence(error)}; what was learnt before is saved in {self.run.last}, "
                    "--resume goes on with it"
                ) from error
        return self.progress

    def state_dict(self) -> dict[str, Any]:
        """Everything that a checkpoint holds."""
        return {
            **self.about,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": random.get_state(),
            "loader": self._position,
            "progress": asdict(self.progress),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint; rows of the log that are newer than it are dropped.

        Raises:
            CheckpointError: if it does not fit; says what does not.
        """
        options = [_without_params(group) for group in self.optimizer.param_groups]
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            # This run's options hold: the saved ones, unless they were changed on purpose.
            for group, option in zip(self.optimizer.param_groups, options, strict=True):
                group.update(option)
            self.schedule.load_state_dict(state["schedule"])
            random.set_state(state["random"])
            self.loader.load_state_dict(state["loader"])
            self._position = self.loader.state_dict()
            self.progress = Progress(**state["progress"])
        except (KeyError, TypeError, ValueError) as error:
            what = f"it has no {error}" if isinstance(error, KeyError) else str(error)
            raise CheckpointError(f"the checkpoint does not fit this run: {what}") from error
        self.rows = [row for row in self.run.read_log() if row["epoch"] <= self.progress.epoch]

    # ---- one epoch ----

    def _train_epoch(self) -> None:
        """Take the steps that are left of this epoch."""
        if self.progress.trained or self._cut_short():
            return
        self.model.train()
        with self._bar(self.progress.epoch + 1) as bar:
            started, first = time.monotonic(), self.progress.iteration
            self.optimizer.zero_grad()
            for batch in self.loader:
                # Position and accumulate say how many batches share the step of this one.
                position = self.loader.position
                group_start = (position - 1) // self.accumulate * self.accumulate
                group = min(self.accumulate, len(self.loader) - group_start)

                loss = self._loss(batch)
                value = float(loss.item())
                if not math.isfinite(value):
                    raise Diverged(self._advice(f"the loss is {value}"))
                (loss / group if group > 1 else loss).backward()
                self.progress.loss_sum += value
                self.progress.losses += 1
                if position < group_start + group:
                    continue

                self.optimizer.step()
                self.optimizer.zero_grad()
                self.schedule.step()
                self.progress.iteration += 1
                self._position = self.loader.state_dict()
                pace = (time.monotonic() - started) / (self.progress.iteration - first)
                left = pace * (self.iterations - self.progress.iteration)
                bar.set_postfix_str(f"loss {value:.4g}, {report.minutes(left)} left in all", False)
                bar.update(min(position * self.loader.batch_size, bar.total) - bar.n)
                self._between_steps()
                if self._cut_short():
                    break
        self._position = self.loader.state_dict()
        self.progress.trained = True

    def _loss(self, batch: Batch) -> Tensor:
        try:
            return total_loss(self.model, Tensor(batch.images), batch.labels, self.loss)
        except BatchTooSmall as error:
            raise UsageError(
                f"--batch-size: a batch of {len(batch.labels)} is too small for this network, "
                f"which normalizes over the batch where its map is a single pixel ({error})"
            ) from error

    def _cut_short(self) -> bool:
        """Whether the run ends inside this epoch; after its last batch the loader must go on."""
        return self.progress.iteration >= self.iterations and self.loader.position < len(
            self.loader
        )

    def _between_steps(self) -> None:
        """The one place where a run can be stopped or saved in the middle of an epoch."""
        self._stop_if_asked()
        if time.monotonic() - self._saved_at > SAVE_EVERY:
            self._save(self.run.last)

    def _finish_epoch(self) -> None:
        """Evaluate, write the row and the pictures, save."""
        self._check_weights()
        rows: list[visualize.Triple] = []
        scores = self._evaluate(rows)
        progress = self.progress
        train_loss = progress.loss_sum / max(1, progress.losses)
        better = scores.mean_iu > progress.best_mean_iu
        progress.epoch += 1
        progress.trained, progress.loss_sum, progress.losses = False, 0.0, 0
        if better:
            progress.best_mean_iu, progress.best_epoch = scores.mean_iu, progress.epoch
        self._tick()

        names = self.validation.classes
        self.rows.append({
            "epoch": progress.epoch,
            "iteration": progress.iteration,
            "seconds": round(progress.seconds, 2),
            "train_loss": train_loss,
            "pixel_accuracy": scores.pixel_accuracy,
            "mean_accuracy": scores.mean_accuracy,
            "mean_iu": scores.mean_iu,
            "fw_iu": scores.fw_iu,
            **{iu_column(name): float(iu) for name, iu in zip(names, scores.iu, strict=True)},
        })  # fmt: skip
        self._print_row(scores, train_loss, better)
        # The log comes before the checkpoint: if the run ends between the two, the row is dropped
        # when it goes on and written again; the other way round it would be lost.
        self.run.write_log(self.rows, names)
        self._write_pictures(rows, better)
        if better:
            self._save(self.run.best)
        self._save(self.run.last)
        if progress.iteration < self.iterations:
            self._stop_if_asked()

    def _evaluate(self, rows: list[visualize.Triple]) -> Scores:
        """Scores on the validation set; fills ``rows`` with what the sheet shows."""
        wanted = set(np.linspace(0, len(self.validation) - 1, SHEET_ROWS).round().astype(int))
        seen = 0

        def collect(samples: list[Sample], predictions: Any) -> None:
            nonlocal seen
            for sample, prediction in zip(samples, predictions, strict=True):
                if seen in wanted:
                    rows.append((sample.image, sample.mask, prediction))
                seen += 1
            self._stop_if_asked()  # going on repeats this evaluation, no step

        return evaluate(
            self.model,
            report.bar(self.validation, desc="evaluation"),
            self.validation.num_classes,
            self.loader.preprocessing,
            self.loader.batch_size,
            collect,
        )

    def _stop_if_asked(self) -> None:
        if self._stop.number is not None:
            self._save(self.run.last)
            raise Stopped(
                self._stop.number,
                f"iteration {self.progress.iteration} of {self.iterations} is saved in "
                f"{self.run.last}; --resume goes on from there",
            )

    # ---- files ----

    def _save(self, path: Any) -> None:
        self._check_weights()
        self._tick()
        checkpoint.save(path, self.state_dict())
        self._saved_at = time.monotonic()

    def _check_weights(self) -> None:
        """A step can spoil the weights after a finite loss; such weights are never saved."""
        for name, tensor in [*self.model.named_parameters(), *self.model.named_buffers()]:
            if not bool(backend.active().xp.isfinite(tensor.data).all()):
                raise Diverged(self._advice(f"{name} holds values that are not finite"))

    def _write_pictures(self, rows: list[visualize.Triple], better: bool) -> None:
        try:
            with atomic_write(self.run.curves) as file:
                visualize.plot_curves(self.rows, file)
        except ImportError as error:
            if not self._skipped_curves:
                print(f"curves.png is skipped: {error}")
            self._skipped_curves = True
        if better:
            with atomic_write(self.run.predictions) as file:
                height = min(256, max(image.shape[0] for image, _, _ in rows))
                picture = visualize.sheet(rows, self.validation.classes, height=height)
                picture.save(file, format="PNG")

    def _tick(self) -> None:
        now = time.monotonic()
        self.progress.seconds += now - self._clock
        self._clock = now

    # ---- screen ----

    def _bar(self, epoch: int) -> Any:
        done = self.loader.position * self.loader.batch_size
        total = len(self.loader) * self.loader.batch_size
        total = min(total, len(self.loader.dataset))
        return report.bar(
            total=total, initial=min(done, total), desc=f"epoch {epoch}/{self.epochs}"
        )

    def _print_row(self, scores: Scores, train_loss: float, better: bool) -> None:
        if not self._table_begun:
            print(report.HEAD)
            self._table_begun = True
        label = f"{self.progress.epoch}/{self.epochs}"
        line = report.row(label, scores, train_loss, self.progress.seconds)
        print(line + ("  best" if better else ""))
        print(report.class_lines(scores, self.validation.classes), flush=True)

    def _advice(self, what: str) -> str:
        kept = (
            f"the checkpoint of before is kept ({self.run.last})"
            if self.run.last.exists()
            else "no checkpoint was written yet"
        )
        return (
            f"{what} in epoch {self.progress.epoch + 1}, iteration {self.progress.iteration + 1}; "
            f"{kept}. What helps most often: a learning rate ten times smaller (--lr), a warm-up "
            "(--warmup), batch normalization (--batch-norm), or, with --loss-reduction sum, a "
            "learning rate about as much smaller as an image has pixels."
        )


def _without_params(group: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a parameter group."""
    return {key: value for key, value in group.items() if key != "params"}
