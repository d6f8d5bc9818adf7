"""A tiny data set and a tiny network that has every kind of state: dropout, batch norm, Adam."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import Tensor, cli, nn, optim, visualize
from tinyfcn.data import (
    ColourJitter,
    Compose,
    DataLoader,
    RandomCrop,
    RandomHorizontalFlip,
    RandomScale,
    VOCSegmentation,
    write_voc_tree,
)
from tinyfcn.training import checkpoint
from tinyfcn.training.run import Run
from tinyfcn.training.run_folder import RunFolder
from tinyfcn.weights import tree as checkpoint_tree

page = cli.load("tinyfcn.examples.train_voc")


class Trainer(Run):
    """A run, and the loop of the page that a user reads."""

    loss: Callable[..., Tensor]

    def fit(self) -> None:
        page.train(self, self.loss)


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten training and four validation scenes of 32 × 32."""
    folder = tmp_path_factory.mktemp("data") / "scenes"
    return write_voc_tree(folder, train=10, val=4, size=32, diameter=(10.0, 20.0))


@pytest.fixture
def no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the pictures, which take longer to draw than this network to train."""
    dot = Image.new("L", (1, 1))
    monkeypatch.setattr(visualize, "plot_curves", lambda rows: [dot] * 2)
    monkeypatch.setattr(visualize, "plot_confusion", lambda scores, classes: dot)
    monkeypatch.setattr(visualize, "sheet", lambda rows, classes, height: dot)


@pytest.fixture
def make_trainer(tree: Path) -> Callable[..., Trainer]:
    """A function that makes a trainer writing into a folder, always from the same start."""

    def make(
        folder: Path, iterations: int = 12, accumulate: int = 1, lr: float = 1e-2, **loader: Any
    ) -> Trainer:
        tinyfcn.manual_seed(3)
        training = VOCSegmentation(tree, "train")
        model = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Conv2d(4, training.num_classes, 1),
        )
        optimizer = optim.Adam(optim.parameter_groups(model, lr, 1e-4))
        schedule = optim.LinearWarmup(optim.PolyLR(optimizer, 100), 5)
        batches = DataLoader(
            training,
            batch_size=2,
            shuffle=True,
            transform=Compose(
                RandomScale(), RandomCrop(24), RandomHorizontalFlip(), ColourJitter()
            ),
            seed=5,
            **loader,
        )
        run = Trainer(
            model,
            optimizer,
            schedule,
            batches,
            VOCSegmentation(tree, "val"),
            RunFolder(folder),
            iterations,
            accumulate,
        )
        run.loss = lambda logits, labels: F.cross_entropy(logits, labels, ignore_index=255)
        return run

    return make


@pytest.fixture
def outcome() -> Callable[[Path], Any]:
    """A function that gives what a run has come to, to the last bit, but for the time it took."""

    def of(folder: Path) -> Any:
        run, found = RunFolder(folder), []
        for path in (run.last, run.best):
            state = checkpoint.load(path)
            for timed in (state["progress"], *state["log"]):
                del timed["seconds"]
            arrays = checkpoint_tree.flatten(state).items()
            found.append({name: (a.dtype, a.shape, a.tobytes()) for name, a in arrays})
        rows = [{k: v for k, v in row.items() if k != "seconds"} for row in run.read_log()]
        return found, repr(rows)

    return of
