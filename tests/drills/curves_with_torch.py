"""Learning curves of FCN-8s: ours, and PyTorch's of the same network, from its own random weights.

    python tests/drills/curves_with_torch.py [--seeds 3] [options of tinyfcn train]

Both sides have the same batches, loss, decay, betas and learning rate in each step. Ours begins as
``tinyfcn train`` does, theirs with the weights that PyTorch draws, but for the fixed filters that
upsample. Printed is the mean IU after each epoch, and of each third of the training. PyTorch is
needed, as for ``tinyfcn benchmark --against torch``.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import tinyfcn
from examples.train_voc import prepare, train
from tinyfcn.benchmark.models_with_torch import FCN8s
from tinyfcn.cli.train_options import open_run, parse_options
from tinyfcn.data import VOID
from tinyfcn.metrics import ConfusionMatrix
from tinyfcn.parallel import group
from tinyfcn.training.run import Run

UPSAMPLING = {"up2": "upscore2", "up4": "upscore_pool4", "up8": "upscore8"}


def theirs(run: Run, options: Any) -> Iterator[float]:
    """The mean IU of PyTorch's network after each epoch."""
    torch.manual_seed(options.seed)
    network = FCN8s(run.validation.num_classes, options.width, options.batch_norm)
    for name, module in network.named_modules():
        if name in UPSAMPLING:
            module.weight.data = torch.tensor(getattr(run.model, UPSAMPLING[name]).weight.numpy())
        if isinstance(module, torch.nn.Dropout) and options.dropout is not None:
            module.p = options.dropout
    learned, ours = [p for p in network.parameters() if p.requires_grad], run.optimizer
    groups = [
        {"params": [p for p in learned if (p.ndim > 1) == decays], "weight_decay": decay}
        for decays, decay in ((True, options.weight_decay), (False, 0.0))
    ]
    adam = torch.optim.Adam(groups, betas=ours.param_groups[0]["betas"])
    for _ in range(options.epochs):
        network.train()
        for batch in run.loader:
            for its in adam.param_groups:
                its["lr"] = ours.param_groups[0]["lr"]
            images, labels = torch.tensor(batch.images), torch.tensor(batch.labels.astype("int64"))
            adam.zero_grad()
            cross_entropy(network(images), labels, ignore_index=VOID).backward()
            adam.step()
            run.schedule.step()
        network.eval()
        matrix = ConfusionMatrix(run.validation.num_classes)
        for sample in run.validation:
            with torch.no_grad():
                scores = network(torch.tensor(run.loader.preprocessing.apply(sample.image)[None]))
            matrix.update(scores.argmax(1).numpy(), sample.mask[None])
        yield matrix.scores().mean_iu


def curve(side: str, arguments: list[str]) -> list[float]:
    """The mean IU after each epoch."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        options = parse_options([*arguments, "--out", f"{folder}/run"])
        tinyfcn.manual_seed(options.seed)
        with open_run(options) as opened:
            run, loss = prepare(options, opened, group())
            if side == "PyTorch":
                return [*theirs(run, options)]
            train(run, loss)
            return [row["mean_iu"] for row in run.rows or []]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--seeds", type=int, default=3)
    own, others = parser.parse_known_args()
    for side in ("ours", "PyTorch"):
        curves = []
        for seed in range(own.seeds):
            curves.append(curve(side, [*others, "--seed", str(seed)]))
            print(side, seed, *(f"{x:.3f}" for x in curves[-1]), flush=True)
        mean = np.mean(curves, 0)
        thirds = [f"{part.mean():.3f}" for part in np.array_split(mean, 3)]
        print(side, "mean", *(f"{x:.3f}" for x in mean), "| thirds", *thirds, flush=True)
