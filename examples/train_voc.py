"""Train a fully convolutional network and keep everything about the run in one folder.

python examples/train_voc.py                                  synthetic scenes, no download
python examples/train_voc.py --data-root VOCdevkit/VOC2012    Pascal VOC, or data in its layout
python examples/train_voc.py --out runs/fcn8s --resume        go on after an interruption
python examples/train_voc.py --evaluate runs/fcn8s/best.npz   only the scores
python examples/train_voc.py --help                           all options and their defaults
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import Tensor, backend, nn, optim
from tinyfcn.cli.errors import plain_errors, usage_errors
from tinyfcn.cli.train_options import all_options, open_run, parse_options, saved_options
from tinyfcn.data import VOID, DataLoader
from tinyfcn.tensor import Array
from tinyfcn.training.datasets import augmentation, open_datasets
from tinyfcn.training.evaluation import median_frequency_weights, print_evaluation
from tinyfcn.training.model_spec import build_model, describe, read_weights
from tinyfcn.training.trainer import Trainer


def main(arguments: Sequence[str]) -> None:
    options = parse_options(arguments)
    with usage_errors("--backend"):
        backend.use(options.backend or backend.active().name)
    tinyfcn.manual_seed(options.seed)
    read_weights(options)  # what is wrong with them is said before the data are read
    run = open_run(options)

    # Model: random weights, then those of a checkpoint or of a file where there is one.
    training, validation = open_datasets(options, run)
    description = describe(options, training.classes)
    model = build_model(description, options)
    print(f"{description}: {nn.count_parameters(model):,} parameters")
    print(f"{len(training)} images to train on, {len(validation)} to score on; run in {run.path}")
    if options.evaluate:
        print_evaluation(model, validation, description.preprocessing, options.evaluate)
        return

    # Data: images and masks from disk, augmented and put into batches by background threads. A last
    # batch of one image is left out: some networks have one pixel there to normalize over.
    loader = DataLoader(
        training,
        options.batch_size,
        shuffle=True,
        drop_last=len(training) % options.batch_size == 1 < len(training),
        transform=augmentation(options, model),
        preprocessing=description.preprocessing,
        seed=options.seed,
        workers=options.workers,
        upload=backend.active().upload,
    )

    # Loss: cross-entropy of every pixel that is not void.
    class_weights = None
    if options.class_weights == "median-frequency":
        masks = (sample.mask for sample in training)
        class_weights = median_frequency_weights(masks, training.num_classes)

    def loss(logits: Tensor, labels: Array) -> Tensor:
        return F.cross_entropy(logits, labels, class_weights, VOID, options.loss_reduction)

    # Optimizer: weights decay, biases do not and may learn faster.
    groups = optim.parameter_groups(model, options.lr, options.weight_decay, options.bias_lr)
    optimizer: optim.Optimizer
    if options.optimizer == "adam":
        optimizer = optim.Adam(groups)
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

    # Loop: train, score after each epoch, keep the last and the best checkpoint.
    trainer = Trainer(
        model, loss, optimizer, schedule, loader, validation, run, iterations, options.accumulate,
        {"description": description.to_dict(), "arguments": saved_options(options)},
    )  # fmt: skip
    if options.resume:
        trainer.load_state_dict(options.state)
    run.write_config(all_options(options), backend=backend.active().name)
    best = trainer.fit()
    print(f"mean IU {best.best_mean_iu:.3f} at best (epoch {best.best_epoch}); "
          f"checkpoints, log and pictures are in {run.path}")  # fmt: skip


if __name__ == "__main__":
    with plain_errors():
        main(sys.argv[1:])
