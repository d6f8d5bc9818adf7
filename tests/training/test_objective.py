"""What is made small: the losses of all heads, of the pixels that have scores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import Tensor, models, nn, optim
from tinyfcn.nn import Module
from tinyfcn.training.objective import total_loss

NETWORKS = {
    "fcn_resnet50": 0.5,
    "fcn_resnet101": 0.5,
    "deeplabv3_resnet50": 0.5,
    "deeplabv3_resnet101": 0.5,
    "pspnet": 0.4,
}


def cross_entropy_by_hand(scores: np.ndarray, labels: np.ndarray) -> float:
    """The mean over the pixels that are not 255 of −log(e^score of the label / Σ e^scores)."""
    scores = scores - scores.max(axis=1, keepdims=True)  # changes nothing, but keeps e^ finite
    losses = [
        np.log(np.exp(scores[n, :, i, j]).sum()) - scores[n, label, i, j]
        for (n, i, j), label in np.ndenumerate(labels)
        if label != 255
    ]
    return float(np.mean(losses))


def loss(scores: Tensor, labels: np.ndarray) -> Tensor:
    return F.cross_entropy(scores, labels, ignore_index=255)


def some_labels(rng: np.random.Generator, *shape: int) -> np.ndarray:
    labels = rng.integers(0, 3, shape).astype(np.uint8)
    labels[rng.random(shape) < 0.2] = 255
    return labels


@pytest.mark.parametrize("name", NETWORKS)
def test_auxiliary_losses_have_the_published_weights(rng: np.random.Generator, name: str) -> None:
    model = models.create(name, num_classes=3, width=1 / 32).double().eval()
    images = tinyfcn.tensor(rng.standard_normal((2, 3, 17, 20)))
    labels = some_labels(rng, 2, 17, 20)
    scores = {key: y.numpy() for key, y in model.outputs(images).items()}
    out, aux = (cross_entropy_by_hand(scores[key], labels) for key in ("out", "aux"))
    total = total_loss(model, images, labels, loss).item()
    assert total == pytest.approx(out + NETWORKS[name] * aux, rel=1e-9)
    np.testing.assert_array_equal(model(images).numpy(), scores["out"])  # what predict looks at

    without = models.create(name, num_classes=3, width=1 / 32, aux_loss=False).double().eval()
    expected = cross_entropy_by_hand(without(images).numpy(), labels)
    assert total_loss(without, images, labels, loss).item() == pytest.approx(expected, rel=1e-9)


def test_a_step_of_training_changes_the_auxiliary_head(
    tmp_path: Path, make_trainer: Callable[..., Any], no_curves: None
) -> None:
    run = make_trainer(tmp_path, iterations=1)
    model = models.pspnet(run.validation.num_classes, width=1 / 32)
    run.model, run.optimizer = model, optim.SGD(model.parameters(), lr=0.1)
    run.schedule = optim.ConstantLR(run.optimizer)
    before = model.state_dict()
    run.fit()
    after = model.state_dict()
    weights = [key for key in before if key.startswith(("aux_classifier", "classifier"))]
    weights = [key for key in weights if key.endswith("weight")]
    assert len([key for key in weights if key.startswith("aux")]) == 3
    assert all((before[key] != after[key]).any() for key in weights)


def test_labels_are_those_of_the_scored_window(rng: np.random.Generator) -> None:
    class Unpadded(Module):
        margin = 2

        def __init__(self) -> None:
            self.score = nn.Conv2d(3, 3, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.score(x)

    model = Unpadded().double()
    images = tinyfcn.tensor(rng.standard_normal((2, 3, 9, 12)))
    labels = some_labels(rng, 2, 9, 12)
    middle = labels[:, 2:7, 2:10]
    expected = cross_entropy_by_hand(model(images).numpy(), middle)
    assert total_loss(model, images, labels, loss).item() == pytest.approx(expected, rel=1e-9)


def test_the_loss_of_an_epoch_is_the_mean_of_its_batches(
    tmp_path: Path, make_trainer: Callable[..., Any]
) -> None:
    run = make_trainer(tmp_path, iterations=8, accumulate=5)
    losses: list[float] = []
    pixel_loss = run.loss

    def noted(logits: Tensor, labels: Tensor) -> Tensor:
        made = pixel_loss(logits, labels)
        losses.append(made.item())
        return made

    run.loss = noted
    run.fit()
    rows = [row["train_loss"] for row in run.folder.read_log()]
    assert len(losses) == 5 * len(rows) == 40
    assert rows == [sum(losses[i : i + 5]) / 5 for i in range(0, 40, 5)]  # to the last bit
