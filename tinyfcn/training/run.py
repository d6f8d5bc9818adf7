"""What a long training needs besides its loop: going on after a stop, scores, log, checkpoints.

A run can be stopped at any time and goes on bit by bit as if it had not been. What makes that
true: everything that changes is in the checkpoint (weights, optimizer, schedule, the generator
that dropout draws from, the loader's epoch and position, the log), a checkpoint is only ever of a
whole step, and augmentation draws from generators that follow from the seed and position alone.

Whatever is raised inside a step, the run goes back to the last whole one, and saves that. Most of
what a step changes is small, and a copy is kept. The weights and what the optimizer remembers are
not; but they change only after the last backward pass, and from there to its end nothing is saved.

Weights come first: where anything else cannot be written (the screen, the log, a picture), the run
says so once, goes on, and tries again. So it does with a checkpoint, but for the one at its end.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
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
from tinyfcn.training.saver import Saver
from tinyfcn.training.screen import for_watching
from tinyfcn.training.signals import StopSignals
from tinyfcn.weights import WeightFile

SAVE_EVERY = 180.0  # seconds between checkpoints inside a long epoch
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
        self.rows: list[Row] | None = []  # of the log; None after an older checkpoint without
        self._stop = StopSignals()
        self._whole: Any = None  # what a step changes, as the last whole one left it
        self._saved: Any = None  # that of last.npz
        self._sheet: list[visualize.Triple] = []  # to be drawn
        self._saver = Saver(self.folder)
        self._attempt = report.Attempts()

    # ---- the loop's parts ----

    @contextlib.contextmanager
    def safely(self) -> Iterator[None]:
        """In this block Ctrl-C, SIGTERM and SIGHUP end the run between two steps, and before an
        error is raised the last whole step is saved."""
        self._begun = time.monotonic() - self.progress.seconds
        with for_watching(), self._stop.noted():
            self.folder.claim_log(self.rows)
            self.rows = self.rows or []
            self._write_log()
            self._saved = self._whole = self._mark()
            try:
                yield
            except (Stopped, CheckpointError):  # what was learnt is saved, or cannot be
                raise
            except BaseException as error:
                self._rescue(error)
                raise

    def epochs(self) -> Iterator[int]:
        """The numbers of the epochs that are left; the last may be cut short by ``iterations``."""
        if self.progress.iteration < self.iterations or self.progress.losses:
            print(report.HEAD)
        while self.progress.iteration < self.iterations or self.progress.losses:
            yield self.progress.epoch + 1
        if self._saver.best is not None or self._whole is not self._saved:
            self._save()  # now or never: that it cannot be saved is an error

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
        self._whole = self._mark()

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
            Stopped: on a signal, after saving ``last.npz``.
        """
        self.progress.iteration += 1
        self._whole = self._mark()
        self._move_bar()
        self._stop_if_asked()
        self._save_if_due(SAVE_EVERY)

    def finish_epoch(self) -> None:
        """Score the model and save; then write the row of the log and the pictures.

        Raises:
            Stopped: on a signal, after saving ``last.npz``.
            Diverged: if the weights are not finite; the checkpoints are from before.
        """
        self._check_weights()
        scores, sheet = self._evaluate()
        now, names = self.progress, self.validation.classes
        train_loss = now.loss_sum / max(1, now.losses)
        better = scores.mean_iu > now.best_mean_iu
        epoch, seconds = now.epoch + 1, time.monotonic() - self._begun
        best = (scores.mean_iu, epoch) if better else (now.best_mean_iu, now.best_epoch)
        self.progress = Progress(epoch, now.iteration, seconds, False, 0.0, 0, *best)
        row = {
            "epoch": epoch,
            "iteration": now.iteration,
            "seconds": round(seconds, 2),
            "train_loss": train_loss,
            **{name: getattr(scores, name) for name in SCORES},
            **{f"iu {name}": float(iu) for name, iu in zip(names, scores.iu, strict=True)},
        }
        self.rows = [*(self.rows or []), row]
        if better:
            state = self.state_dict()
            # The arrays of the optimizer are its own, and change.
            self._saver.best = {**state, "optimizer": copy.deepcopy(state["optimizer"])}
            self._sheet = sheet
        self._whole = self._mark()
        self._save_if_due(0.0 if now.iteration < self.iterations else -math.inf)

        line = report.row(self._label(epoch), scores, train_loss, seconds)
        print(line + ("  best" if better else ""))
        print(report.class_lines(scores, names), flush=True)
        self._write_log()
        if self._sheet and self._attempt("predictions.png", self._write_sheet):
            self._sheet = []
        if now.iteration < self.iterations:
            self._stop_if_asked()

    # ---- resume ----

    def state_dict(self) -> dict[str, Any]:
        """Everything that a checkpoint holds."""
        return {
            **self.about,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            **self._position(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint.

        Raises:
            CheckpointError: if it does not fit; says what does not. The model is then unchanged.
        """
        own = [{**group} for group in self.optimizer.param_groups]
        try:
            arrays = WeightFile(state["model"]).arrays
            self._check_position(state)
            self.optimizer.load_state_dict(state["optimizer"])
            # This run's options hold: the saved ones, unless they were changed on purpose.
            for group, options in zip(self.optimizer.param_groups, own, strict=True):
                group.update(options)
            self._go_to(state)
            self.model.load_state_dict(arrays)
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            what = f"it has no {error}" if isinstance(error, KeyError) else str(error)
            raise CheckpointError(f"the checkpoint does not fit this run: {what}") from error

    def _position(self) -> dict[str, Any]:
        """All that changes but the model and what the optimizer remembers."""
        return {
            "schedule": self.schedule.state_dict(),
            "random": random.get_state(),
            "loader": self.loader.state_dict(),
            "progress": asdict(self.progress),
            "log": self.rows,
        }

    def _check_position(self, state: Mapping[str, Any]) -> None:
        names = [f"iu {name}" for name in self.validation.classes]
        row = dict.fromkeys(
            ("epoch", "iteration", "seconds", "train_loss", *SCORES, *names), math.nan
        )
        for key, own in {**self._position(), "log": [row]}.items():
            if key != "log" or state.get(key) is not None:
                checkpoint.check_like(own, state[key], f"its {key}")

    def _go_to(self, position: Mapping[str, Any]) -> None:
        self.schedule.load_state_dict(position["schedule"])
        random.set_state(position["random"])
        self.loader.load_state_dict(position["loader"])
        self.progress = Progress(**position["progress"])
        self.rows = position.get("log")

    def _mark(self) -> tuple[dict[str, Any], list[tuple[Tensor, Any]]]:
        """What a step changes before the weights."""
        return self._position(), [(b, b.data.copy()) for b in self.model.buffers()]

    # ---- inside an epoch ----

    def _of_one_step(self, batches: Iterator[Batch], size: int) -> Iterator[Batch]:
        yield from itertools.islice(batches, size)
        self._whole = None  # weights change from here to after_step

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
            on_batch=collect,
        )  # fmt: skip
        return scores, sheet

    def _stop_if_asked(self) -> None:
        if self._stop.number is not None:
            report.note("stopping: saving the last step")
            self._save()
            raise Stopped(self._stop.number, self._where())

    # ---- files ----

    def _save_if_due(self, seconds: float) -> None:
        if self._saver.due(seconds):
            self._attempt("last.npz", self._save)

    def _save(self) -> None:
        self._check_weights()
        self.progress.seconds = time.monotonic() - self._begun
        self._saver.save(self.state_dict())
        self._saved = self._whole

    def _rescue(self, error: BaseException) -> None:
        """Save what was learnt before an error: the last whole step."""
        if self._whole is None or isinstance(error, Diverged):
            self._attempt("best.npz", self._saver.save_best)
            if self._whole is None:
                report.note(f"iteration {self.progress.iteration + 1} is lost; {self._kept()}")
        elif self._whole is not self._saved:
            position, buffers = self._whole
            self._go_to(position)
            for buffer, values in buffers:
                buffer.data[...] = values
            if self._attempt("last.npz", self._save):
                if isinstance(error, KeyboardInterrupt):
                    raise Stopped(signal.SIGINT, self._where()) from error
                if isinstance(error, DataError | OSError):
                    raise Interrupted(f"{sentence(error)}; {self._where()}") from error
                report.note(self._where())

    def _check_weights(self) -> None:
        """A step can spoil the weights after a finite loss; such weights are never saved."""
        for name, tensor in self.model.state_tensors().items():
            if not bool(backend.active().xp.isfinite(tensor.data).all()):
                raise Diverged(self._when(f"{name} holds values that are not finite"))

    def _write_log(self) -> None:
        if rows := self.rows:
            self._attempt("log.csv", lambda: self.folder.write_log(rows))
            self._attempt("curves.png", lambda: self._write_curves(rows))

    def _write_curves(self, rows: list[Row]) -> None:
        with atomic_write(self.folder.curves) as file:
            visualize.plot_curves(rows, file)

    def _write_sheet(self) -> None:
        height = min(256, max(image.shape[0] for image, _, _ in self._sheet))
        picture = visualize.sheet(self._sheet, self.validation.classes, height=height)
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
        epoch, iteration = self.progress.epoch + 1, self.progress.iteration + 1
        return f"{what} in epoch {epoch}, iteration {iteration}; {self._kept()}"

    def _where(self) -> str:
        done = f"iteration {self.progress.iteration} of {self.iterations}"
        return f"{done} is saved in {self.folder.last}"

    def _kept(self) -> str:
        if not self.folder.last.exists():
            return "no checkpoint was written yet"
        iteration = self._saved[0]["progress"]["iteration"]
        return f"the checkpoint of iteration {iteration} is kept ({self.folder.last})"
