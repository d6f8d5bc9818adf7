"""What a long training needs besides its loop: going on after a stop, scores, log, checkpoints.

A run can be stopped at any time and goes on bit by bit as if it had not been. What makes that
true: everything that changes is in the checkpoint (weights, optimizer, schedule, the generator
that dropout draws from, the loader's epoch and position, the log), a checkpoint is only ever of a
whole step, and augmentation draws from generators that follow from the seed and position alone.

Whatever is raised inside a step, the run goes back to the last whole one, and saves that. Of what
is large, weights and what the optimizer remembers, there is no copy to go back to; but it changes
only after the last backward pass, and from there to the end of the step nothing is saved.

Several ranks do the same, have the same state, and agree on whether to stop; the first writes.

Weights come first: what else cannot be written (screen, log, pictures), and checkpoints but for the
one at the end, is said once, and tried again.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tinyfcn import Tensor, backend, random
from tinyfcn.data import Batch, DataError, DataLoader, SegmentationDataset
from tinyfcn.metrics import SCORES
from tinyfcn.nn import Module
from tinyfcn.optim import Optimizer, Schedule
from tinyfcn.parallel import Group
from tinyfcn.parallel.shards import Shards
from tinyfcn.training import batch_statistics, checkpoint, divergence, report
from tinyfcn.training.checkpoint import CheckpointError, Progress
from tinyfcn.training.errors import Diverged, Interrupted, Stopped, sentence
from tinyfcn.training.evaluation import Evaluation, evaluate
from tinyfcn.training.precision import Precision
from tinyfcn.training.run_folder import COLUMNS, Row, RunFolder
from tinyfcn.training.saver import Attempts, Saver
from tinyfcn.training.screen import for_watching
from tinyfcn.training.signals import StopSignals
from tinyfcn.training.ways_of_learning import Average
from tinyfcn.weights import WeightFile

SAVE_EVERY = 180.0  # seconds between checkpoints inside a long epoch


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
        accumulate: batches of which one step is made, with the mean of their gradients, as Caffe's
            iter_size does; a rest at the end of an epoch makes a smaller group.
        about: what else the checkpoints hold, such as how to build the model again.
        shards: how batches are shared out to ranks; by default there is one.
        weigh, clip_norm, precision: see :meth:`Shards.of_step`, and how the loop uses them.
        still: parts of the model that are in evaluation mode while it learns.
        average: of the weights; scored, and saved as the model's.
        patience: epochs without a better one that end it (Prechelt, "Early stopping", 1998).
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
    shards: Shards | None = None
    weigh: Callable[[Any], float] | None = None
    clip_norm: float | None = None
    still: Sequence[Module] = ()
    average: Average | None = None
    patience: int | None = None
    precision: Precision = field(default_factory=Precision)

    def __post_init__(self) -> None:
        self._shards = self.shards or Shards(self.model, Group())
        self.group = self._shards.group
        self.progress = Progress()
        self.rows: list[Row] | None = []  # of the log; None after an older checkpoint without
        self._stop = StopSignals()
        self._whole: Any = None  # what a step changes, as the last whole one left it
        self._saved: Any = None  # that of last.npz
        self._found: Evaluation | None = None  # in the best epoch, to be drawn
        self._saver = Saver(self.folder)
        self._optional = Attempts()

    # ---- the loop's parts ----

    @contextlib.contextmanager
    def safely(self, loss_of: Callable[[Batch], Tensor] | None = None) -> Iterator[None]:
        """In this block Ctrl-C, SIGTERM and SIGHUP end the run between two steps, and before an
        error is raised the last whole step is saved. Where the run diverges, ``loss_of`` a batch
        is computed once more in anomaly mode, to say in which layer."""
        self._loss_of: Any = loss_of
        self._begun = time.monotonic() - self.progress.seconds
        with for_watching(), self._stop.noted(), self._shards:
            if self.group.rank == 0:
                self.folder.claim_log(self.rows)
            self.rows = self.rows or []
            self._write_records()
            self._saved = self._whole = self._mark()
            try:
                yield
            except (Stopped, CheckpointError):  # what was learnt is saved, or cannot be
                raise
            except BaseException as error:
                if self.group.rank:
                    raise
                self.group.hold()
                kept = self._rescue(error)
                if isinstance(error, Diverged):
                    raise Diverged(f"{error}; {kept}") from error
                if not isinstance(error, DataError | OSError):
                    report.note(kept)
                elif self.folder.last.exists():
                    raise Interrupted(f"{sentence(error)}; {kept}") from error
                raise

    def epochs(self) -> Iterator[int]:
        """The numbers of the epochs that are left; the last may be cut short by ``iterations``."""
        if self._goes_on():
            print(report.HEAD)
        while self._goes_on():
            yield self.progress.epoch + 1
        if self.progress.iteration < self.iterations:
            report.note(f"no better mean IU in {self.patience} epochs: the run ends here")
        if self._saver.best is not None or self._whole is not self._saved:
            self._save()  # now or never
        if self._optional.failed:
            self._write_records()
        self.group.barrier()  # all hear of it if that fails

    def steps(self) -> Iterator[Iterator[tuple[Batch, float]]]:
        """The batches of each step that is left of this epoch, with their shares in its loss."""
        if self.progress.trained:
            return
        self.model.train()
        for part in self.still:
            part.eval()
        label, done = self._label(self.progress.epoch + 1), self.loader.images(self.loader.position)
        total = self.loader.images(len(self.loader))
        with report.bar(total=total, initial=done, desc=f"epoch {label}") as self._bar:
            self._first = time.monotonic(), self.progress.iteration
            batches = iter(self.loader)
            left = len(self.loader) - self.loader.position
            while left and self.progress.iteration < self.iterations:
                size = min(self.accumulate, left)
                yield self._of_one_step(batches, size)
                left -= size
            if not left:
                next(batches, None)  # the loader goes on to its next epoch
        self._check_weights()
        batch_statistics.renew(self._scored, self.model, self.loader, self.group)
        self.progress.trained = True
        self._whole = self._mark()

    def note(self, loss: Tensor) -> None:
        """Add the loss of the batch that was handed out last to the mean of the epoch. A device
        is asked for it when it was given the whole backward pass of the step, not in between.

        Raises:
            Diverged: if it is not finite; this step is not made.
        """
        self._noted.append((loss.detach(), self._share, self._batch, self._drawn))
        if backend.active().eager:
            self._value(*self._noted[-1])

    def after_step(self) -> None:
        """Count a step; the one place inside an epoch where a run is saved or Stopped."""
        self.progress.iteration += 1
        if self.average:
            self.average.update(self.model, self.progress.iteration)
        self._whole = self._mark()
        self._move_bar()
        self._stop_if_asked()
        if self._saver.due(SAVE_EVERY):
            self._optional("last.npz", self._save)

    def finish_epoch(self) -> None:
        """Score the model and save; then write the row of the log and the pictures.

        Raises:
            Stopped: on a signal, after saving ``last.npz``.
            Diverged: if the weights are not finite; the checkpoints are from before.
        """
        found = evaluate(
            self._scored, self.validation, self.loader.preprocessing, self.group,
            self._stop_if_asked,  # going on repeats this evaluation, no step
        )  # fmt: skip
        now, scores = self.progress, found.scores
        train_loss = now.loss_sum / max(1, now.losses)
        better = scores.mean_iu > now.best_mean_iu
        epoch, seconds = now.epoch + 1, time.monotonic() - self._begun
        best = (scores.mean_iu, epoch) if better else (now.best_mean_iu, now.best_epoch)
        self.progress = Progress(epoch, now.iteration, seconds, False, 0.0, 0, *best)
        figures = [epoch, now.iteration, round(seconds, 2), train_loss]
        figures += [getattr(scores, name) for name in SCORES]
        row = dict(zip(self._columns(), [*figures, *scores.iu.tolist()], strict=True))
        self.rows = [*(self.rows or []), row]
        if better and self.group.rank == 0:
            self._saver.best, self._found = copy.deepcopy(self.state_dict()), found
        self._whole = self._mark()
        if now.iteration == self.iterations or self._saver.due(0.0):
            self._optional("last.npz", self._save)

        print(report.row(self._label(epoch), scores, train_loss, seconds) + "  best" * better)
        print(report.class_lines(scores, self.validation.classes), flush=True)
        self._write_records()
        if now.iteration < self.iterations:
            self._stop_if_asked()

    # ---- resume ----

    def state_dict(self) -> dict[str, Any]:
        """Everything that a checkpoint holds; on the CPU its arrays are the run's, not copies."""
        return {
            **self.about,
            "model": checkpoint.arrays_of(self._scored),
            **({"learning": checkpoint.arrays_of(self.model)} if self.average else {}),
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
            kept = state["model"], state.get("learning", state["model"])
            scored, learning = (WeightFile(arrays).arrays for arrays in kept)
            self._check_position(state)
            self.optimizer.load_state_dict(state["optimizer"])
            # This run's options hold: the saved ones, unless they were changed on purpose.
            for group, options in zip(self.optimizer.param_groups, own, strict=True):
                group.update(options)
            self._go_to(state)
            self.model.load_state_dict(learning)
            if self.average:
                self.average.model.load_state_dict(scored)
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            what = f"it has no {error}" if isinstance(error, KeyError) else str(error)
            raise CheckpointError(f"the checkpoint does not fit this run: {what}") from error

    @property
    def _scored(self) -> Module:
        return self.average.model if self.average else self.model

    def _goes_on(self) -> bool:
        now = self.progress
        idle = now.epoch - now.best_epoch >= (self.patience or math.inf)
        return now.losses > 0 or (now.iteration < self.iterations and not idle)

    def _position(self) -> dict[str, Any]:
        """All that changes but the model and what the optimizer remembers."""
        return {
            "schedule": self.schedule.state_dict(),
            "random": random.get_state(),
            "loader": self.loader.state_dict(),
            "progress": asdict(self.progress),
            "log": self.rows,
            **self.precision.state_dict(),
        }

    def _check_position(self, state: Mapping[str, Any]) -> None:
        row = dict.fromkeys(self._columns(), math.nan)
        for key, own in {**self._position(), "log": [row]}.items():
            if key not in ("log", "scaler") or state.get(key) is not None:
                checkpoint.check_like(own, state[key], f"its {key}")

    def _columns(self) -> list[str]:
        return [*COLUMNS, *(f"iu {name}" for name in self.validation.classes)]

    def _go_to(self, position: Mapping[str, Any]) -> None:
        self.schedule.load_state_dict(position["schedule"])
        random.set_state(position["random"])
        self.loader.load_state_dict(position["loader"])
        self.progress = Progress(**position["progress"])
        self.rows = position.get("log")
        self.precision.load_state_dict(position)

    def _mark(self) -> Any:
        """What a step changes before the weights."""
        return self._position(), [(b, b.data.copy()) for b in self.model.buffers()]

    # ---- inside ----

    def _of_one_step(self, batches: Iterator[Batch], size: int) -> Iterator[tuple[Batch, float]]:
        self._noted: list[Any] = []
        for batch, share in self._shards.of_step(batches, size, self.weigh):
            self._batch, self._share, self._drawn = batch, share * size, random.get_state()
            yield batch, share
        of_ranks = self.group.gather([self._value(*noted) for noted in self._noted])
        losses = math.fsum(itertools.chain(*of_ranks))
        self._loss = losses / size
        self.progress.loss_sum += losses
        self.progress.losses += size
        if divergence.in_gradients(self.model, self.precision.scaler):
            where = max(self.group.gather(self._in_which_layer()))
            raise self._diverged("the gradient is not finite", where)
        self._whole = None  # weights change from here to after_step

    def _value(self, loss: Tensor, share: float, batch: Batch, drawn: Any) -> float:
        """What a batch adds to the loss of its step."""
        self._loss, self._batch, self._drawn = float(loss.item()), batch, drawn
        if not math.isfinite(self._loss):
            raise self._diverged(f"the loss is {self._loss}", self._in_which_layer())
        return self._loss * share

    def _stop_if_asked(self) -> None:
        """All ranks stop at the same place, after a signal to any."""
        if asked := max(number or 0 for number in self.group.gather(self._stop.number)):
            report.note("stopping: saving the last step")
            self._save()
            self.group.barrier()  # who leaves while others save may end them
            raise Stopped(asked, self._where())

    def _save(self) -> None:
        self._check_weights()
        self.progress.seconds = time.monotonic() - self._begun
        if self.group.rank == 0:
            self._saver.save(self.state_dict())
        self._saved = self._whole

    def _rescue(self, error: BaseException) -> str:
        """Save what was learnt before an error, the last whole step; says what is saved."""
        if self._whole is self._saved:
            return self._kept()
        if self._whole is not None:
            if isinstance(error, MemoryError):
                traceback.clear_frames(error.__traceback__)  # what they hold is in the way
            self._go_to(self._whole[0])
            for buffer, values in self._whole[1]:
                buffer.data[...] = values
            if not divergence.in_weights(self.model) and self._optional("last.npz", self._save):
                return self._where()
        self._optional("best.npz", self._saver.save_best)
        return f"iteration {self.progress.iteration + 1} is lost; {self._kept()}"

    def _check_weights(self) -> None:
        """A step can spoil the weights after a finite loss; such weights are never saved."""
        if name := divergence.in_weights(self.model):
            raise self._diverged(f"{name} holds values that are not finite")

    def _diverged(self, what: str, where: str = "") -> Diverged:
        now, where = self.progress, where + self.precision.limits
        return Diverged(f"{what} in epoch {now.epoch + 1}, iteration {now.iteration + 1}{where}")

    def _in_which_layer(self) -> str:
        """What anomaly mode says of the last batch."""
        self._shards.exchange.early = False  # nobody waits for these gradients
        random.set_state(self._drawn)
        overflow = self.precision.overflows(self._loss)
        return divergence.in_layer(lambda: self._loss_of(self._batch), overflow)

    def _write_records(self) -> None:
        if self.rows and self.group.rank == 0:
            records = self.folder.records(self.rows, self.validation.classes, self._found)
            done = {name: self._optional(name, write) for name, write in records.items()}
            if done.get("predictions.png") and done["report.html"]:
                self._found = None

    def _label(self, epoch: int) -> str:
        """``3/6``; the last epoch may be cut short by ``iterations``."""
        steps = math.ceil(len(self.loader) / self.accumulate)
        return f"{epoch}/{math.ceil(self.iterations / steps)}"

    def _move_bar(self) -> None:
        started, first = self._first
        pace = (time.monotonic() - started) / (self.progress.iteration - first)
        left = report.minutes(pace * (self.iterations - self.progress.iteration))
        self._bar.set_postfix_str(f"loss {self._loss:.4g}, {left} left in all", False)
        self._bar.update(self.loader.images(self.loader.position) - self._bar.n)

    def _where(self) -> str:
        done = self.progress.iteration
        return f"iteration {done} of {self.iterations} is saved in {self.folder.last}"

    def _kept(self) -> str:
        if not self.folder.last.exists():
            return "no checkpoint was written yet"
        iteration = self._saved[0]["progress"]["iteration"]
        return f"the checkpoint of iteration {iteration} is kept ({self.folder.last})"
