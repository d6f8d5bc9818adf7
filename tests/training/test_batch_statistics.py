"""Statistics of batch norm that belong to the weights that are scored."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinyfcn
from tinyfcn import nn
from tinyfcn.data import DataLoader, Sample
from tinyfcn.parallel import Group
from tinyfcn.training import batch_statistics, checkpoint
from tinyfcn.training.evaluation import evaluate
from tinyfcn.training.ways_of_learning import Average


def samples(n: int, size: int = 8) -> list[Sample]:
    """Noise over two classes: the brighter half of each image is class 1."""
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 2, (n, 1, 2), np.uint8).repeat(size, 1).repeat(size // 2, 2)
    images = (rng.integers(0, 99, (n, size, size, 3)) + 100 * masks[..., None]).astype(np.uint8)
    return [Sample(str(i), images[i], masks[i]) for i in range(n)]


def network() -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5), nn.BatchNorm2d(3))


@pytest.mark.parametrize(
    ("images", "shards", "used"), [(40, 1, 1), (66, 1, 2), (66, 2, 4), (999, 1, 8)]
)
def test_they_are_plain_means_over_a_few_batches(images: int, shards: int, used: int) -> None:
    loader = DataLoader(samples(images), 4, shuffle=True, seed=3, shards=shards, workers=0)
    model = network()
    state = tinyfcn.random.get_state()
    batch_statistics.renew(model, model, loader, Group())
    alike = DataLoader(samples(images), 4 // shards, shuffle=True, seed=3, workers=0)
    batches = [x.images for x, _ in zip(alike, range(used), strict=False)]
    means = np.mean([x.mean((0, 2, 3)) for x in batches], 0)
    variances = np.mean([x.var((0, 2, 3), ddof=1) for x in batches], 0)
    first, dropout, second = model
    np.testing.assert_allclose(first.running_mean.numpy(), means, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(first.running_var.numpy(), variances, rtol=1e-5)
    assert second.running_var.numpy() == pytest.approx(np.ones(3), rel=0.02)  # nothing dropped
    # Training goes on as if nothing had been.
    assert first.momentum == second.momentum == 0.1
    assert first.training and dropout.training and model.training
    assert loader.state_dict() == {"epoch": 0, "position": 0}
    assert tinyfcn.random.get_state() == state


def test_what_is_still_keeps_its_own_and_a_mean_of_weights_gets_its_own() -> None:
    loader = DataLoader(samples(8), 4, workers=0)
    learning = network()
    learning[0].eval()
    average = Average(learning, 0.9).model
    batch_statistics.renew(average, learning, loader, Group())
    assert not average[0].running_mean.numpy().any()
    assert average[2].running_mean.numpy().all()
    assert not learning[2].running_mean.numpy().any()


def test_a_model_without_batch_norm_reads_nothing() -> None:
    class Unreadable:
        ids = ("a",)

        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> Any:
            raise AssertionError

    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2, track_running_stats=False))
    batch_statistics.renew(model, model, DataLoader(Unreadable(), 1, workers=0), Group())  # type: ignore[arg-type]


def test_a_run_scores_and_saves_its_network_with_them(tmp_path: Path, make_trainer: Any) -> None:
    run = make_trainer(tmp_path, 10, lr=1.0, workers=0)  # two epochs
    run.fit()
    anew = copy.deepcopy(run.model)
    anew[1].running_var.data[...] = 1e9
    batch_statistics.renew(anew, anew, run.loader, Group())
    saved = checkpoint.load(run.folder.last)["model"]
    for name, values in anew.state_dict().items():
        np.testing.assert_array_equal(saved[name], values)
    last = run.folder.read_log()[-1]["mean_iu"]
    found = evaluate(anew, run.validation, run.loader.preprocessing)
    assert found.scores.mean_iu == last
