"""Train a network that labels pixels.

Without a folder of data it draws synthetic scenes. What stands in [] holds where nothing is given.

tinyfcn train photos --classes background,cell   images and masks of your own
mpiexec -n 4 tinyfcn train                       shared out to four processes
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence

import tinyfcn
from tinyfcn import Tensor, backend, nn, optim
from tinyfcn.cli.errors import plain_errors, usage_errors, use_backend
from tinyfcn.cli.evaluate import score
from tinyfcn.cli.network import build, spec_of
from tinyfcn.cli.train_options import open_run, parse_options, saved_options
from tinyfcn.data import VOID, Batch, DataLoader
from tinyfcn.doctor import before_training
from tinyfcn.parallel import Group, group, launch
from tinyfcn.parallel.batch_norm import sync_batch_norm
from tinyfcn.parallel.shards import Shards
from tinyfcn.tensor import Array
from tinyfcn.training.augmentation import augmentation
from tinyfcn.training.class_weights import class_weights
from tinyfcn.training.datasets import draw_scenes, open_datasets
from tinyfcn.training.objective import Loss, loss_weight, named_loss, total_loss
from tinyfcn.training.precision import Precision
from tinyfcn.training.run import Run
from tinyfcn.training.run_folder import RunFolder
from tinyfcn.training.ways_of_learning import Average, clip_gradients, scale_lr, trunk


def main(arguments: Sequence[str]) -> None:
    """The command, called with its arguments."""
    launch.start()  # the processes of mpiexec, where it started this one
    options = parse_options(arguments, __doc__)
    if options.evaluate:
        return score(options)
    use_backend(options.backend)
    tinyfcn.manual_seed(options.seed)
    with open_run(options) as folder:  # nobody else trains there meanwhile
        run, loss = prepare(options, folder, group())
        train(run, loss)
    best = run.progress
    if best.best_epoch and best.best_mean_iu <= 1 / len(run.validation.classes):
        print("note: one class for every pixel comes as far; more steps (--epochs) may tell "
              "classes apart, or a higher --lr")  # fmt: skip
    print(f"mean IU {best.best_mean_iu:.3f} at best (epoch {best.best_epoch}); "
          f"{folder.path} has report.html, and best.npz for tinyfcn predict")  # fmt: skip


def prepare(options: argparse.Namespace, folder: RunFolder, ranks: Group) -> tuple[Run, Loss]:
    """Everything that the loop needs."""

    # Data: images and masks from disk, or scenes drawn now.
    with ranks.rank_0_first():
        root = options.data_root or draw_scenes(folder.path / "scenes", options.scenes)
    training, validation = open_datasets(
        root, options.train_split, options.val_split, options.classes_given, options.sbd_root,
        options.void, options.val_share, options.group_by == "folder",
    )  # fmt: skip
    if options.data_root:
        sure = options.void is not None
        for note in ranks.from_rank_0(lambda: before_training(training, validation, sure)):
            print(f"note: {note}")

    # Model: random weights, then those of a checkpoint or of a file where there is one.
    spec = spec_of(options, training.classes)
    training.read_image = validation.read_image = spec.preprocessing.read
    model = build(spec, options)
    if options.sync_batch_norm:
        sync_batch_norm(model, ranks)
    shards = Shards(
        model, ranks, options.same_bits, options.half_exchange, empty=options.sync_batch_norm
    )
    print(f"{spec}: {nn.count_parameters(model):,} parameters; run in {folder.path}")
    print(f"images: {len(training)} to train on, {len(validation)} to score on, listed there")

    # Batches: augmented and put together by background threads. A last batch of one image is left
    # out: some networks have one pixel there to normalize over.
    loader = DataLoader(
        training,
        options.batch_size,
        shuffle=True,
        drop_last=len(training) % options.batch_size == 1 < len(training),
        transform=augmentation(
            model, options.crop, options.jitter, options.colour_jitter, options.flip,
            options.augment, spec.preprocessing.resize,
        ),
        preprocessing=spec.preprocessing,
        seed=options.seed,
        workers=options.workers,
        shards=shards.count,
        own=shards.own,
        upload=backend.active().upload,
    )  # fmt: skip

    # Loss: of every pixel, or every image, as far as it is not void.
    criterion = named_loss(options.loss)
    masks, how = (sample.mask for sample in training), options.class_weights
    weights = ranks.from_rank_0(lambda: class_weights(how, masks, training.classes))

    def scored_loss(logits: Tensor, labels: Array) -> Tensor:
        return criterion(logits, labels, weights, VOID, options.loss_reduction)

    def weigh(labels: Array) -> float:
        return loss_weight(model, labels, weights)

    # Optimizer: weights decay, biases do not and may learn faster. The trunk, which a classifier
    # has as well, may stay as it is, or learn more slowly.
    with usage_errors(f"--model {spec.model}"):
        still = [trunk(model).requires_grad_(False)] if options.freeze else []
        groups = optim.parameter_groups(model, options.lr, options.weight_decay, options.bias_lr)
        if options.lr_trunk != 1:
            groups = scale_lr(groups, trunk(model), options.lr_trunk)
    optimizer: optim.Optimizer
    if options.optimizer == "adam":  # of a short memory, since weights change fast at first
        optimizer = optim.Adam(groups, betas=(options.momentum, 0.9))
    else:
        optimizer = optim.SGD(groups, momentum=options.momentum)
    steps_per_epoch = math.ceil(len(loader) / options.accumulate)
    iterations = options.iterations or options.epochs * steps_per_epoch
    schedule: optim.Schedule = {
        "constant": lambda: optim.ConstantLR(optimizer),
        "cosine": lambda: optim.CosineLR(optimizer, iterations),
        "poly": lambda: optim.PolyLR(optimizer, iterations),
        "step": lambda: optim.StepLR(optimizer, math.ceil(iterations / 3)),
    }[options.schedule]()
    if options.warmup:
        schedule = optim.LinearWarmup(schedule, options.warmup)

    precision = Precision(options.precision)
    if precision.note:
        print(f"note: {precision.note}")
    run = Run(
        model, optimizer, schedule, loader, validation, folder, iterations, options.accumulate,
        {"description": spec.to_dict(), "arguments": saved_options(options)},
        shards, weigh if options.loss_reduction == "mean" else None,
        options.clip_norm, still, Average(model, options.ema) if options.ema else None,
        options.patience, precision,
    )  # fmt: skip
    if options.resume:
        run.load_state_dict(options.state)
    if ranks.rank == 0:
        folder.write_config(
            options.values, model=spec.to_dict(), images=[len(training), len(validation)],
            backend=backend.active().name, ranks=ranks.size,
        )  # fmt: skip
        folder.write_lists(training.ids, validation.ids)
    return run, scored_loss


def train(run: Run, pixel_loss: Loss) -> None:
    """The loop. What a long training needs besides is called by name, and stands in ``Run``."""
    model, optimizer, schedule = run.model, run.optimizer, run.schedule
    precision, scaler = run.precision, run.precision.scaler  # it scales the loss of fp16 alone

    def loss_of(batch: Batch) -> Tensor:
        return total_loss(model, precision.images(batch.images), batch.labels, pixel_loss)

    with run.safely(loss_of):  # whatever ends it, Ctrl-C or an error, what was learnt is saved
        for _ in run.epochs():
            for batches in run.steps():  # one batch a step, or --accumulate of them
                for batch, share in batches:
                    with precision.used():
                        loss = loss_of(batch)
                        run.note(loss)  # ends a run that diverged
                        scaler.scale(loss * share).backward()
                if scaler.unscale_(optimizer) and run.clip_norm:
                    clip_gradients(model.parameters(), run.clip_norm)
                scaler.step(optimizer)  # unless a gradient overflowed
                scaler.update()
                optimizer.zero_grad()
                schedule.step()
                run.after_step()
            run.finish_epoch()  # scores, log, pictures, checkpoints


if __name__ == "__main__":
    with plain_errors():
        main(sys.argv[1:])
