"""Clipped gradients, a trunk that stays or learns slowly, averaged weights, an early end."""

from __future__ import annotations

import copy
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinyfcn
from tinyfcn import Tensor, backend, cli, models, nn, optim
from tinyfcn.models.registry import entry
from tinyfcn.training import checkpoint
from tinyfcn.training.errors import Stopped
from tinyfcn.training.evaluation import evaluate
from tinyfcn.training.ways_of_learning import Average, clip_gradients, scale_lr, trunk

pytestmark = pytest.mark.usefixtures("no_curves")
Make = Callable[..., Any]


@pytest.mark.parametrize("most", [0.5, 1e3])
def test_gradients_are_clipped_by_their_norm_together(
    most: float, rng: np.random.Generator
) -> None:
    shapes = [(3, 4, 2, 2), (5,), ()]
    parameters = [Tensor(np.zeros(shape, "f4"), requires_grad=True) for shape in shapes]
    given = [rng.standard_normal(shape).astype("f4") for shape in shapes]
    given[0] = given[0].transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)
    for p, g in zip(parameters, given, strict=True):
        p.grad = Tensor(g.copy())
    unused = Tensor(np.zeros(3, "f4"), requires_grad=True)
    norm = np.linalg.norm(np.concatenate([g.ravel().astype(float) for g in given]))
    assert clip_gradients([*parameters, unused], most) == pytest.approx(norm, rel=1e-12)
    for p, g in zip(parameters, given, strict=True):
        assert p.grad is not None and p.grad.dtype == np.float32
        np.testing.assert_allclose(p.grad.numpy(), g * min(1.0, most / norm), rtol=1e-6)
    assert unused.grad is None


def test_one_gradient_of_two_parameters_is_clipped_once() -> None:
    a, b = (Tensor(np.zeros(2), requires_grad=True) for _ in range(2))
    a.grad = b.grad = Tensor(np.ones(2))
    clip_gradients([a, b], 1.0)
    assert a.grad is not None and b.grad is not None
    np.testing.assert_allclose([a.grad.numpy(), b.grad.numpy()], 0.5)


def test_a_step_is_clipped(tmp_path: Path, make_trainer: Make) -> None:
    run = make_trainer(tmp_path, iterations=1, accumulate=2)
    run.clip_norm = 1e-3
    run.optimizer = optim.SGD(run.model.parameters(), lr=1.0)
    run.schedule = optim.ConstantLR(run.optimizer)
    before = [p.numpy().copy() for p in run.model.parameters()]
    run.fit()
    moved = [(p.numpy() - b).ravel() for p, b in zip(run.model.parameters(), before, strict=True)]
    assert np.linalg.norm(np.concatenate(moved)) == pytest.approx(1e-3, rel=1e-3)


# ---- the trunk ----


@pytest.mark.parametrize("name", [n for n in models.names() if not models.is_classifier(n)])
def test_which_networks_have_a_trunk(name: str) -> None:
    with backend.using("meta"):
        model = models.create(name, num_classes=2, width=1 / 16)
        if name in ("unet", "same_resolution", "sliding_window"):
            with pytest.raises(ValueError, match="no trunk, which is a backbone or an encoder"):
                trunk(model)
        else:
            whole, part = (nn.count_parameters(m) for m in (model, trunk(model)))
            assert 0 < part < whole
        names = list(copy.deepcopy(model).state_tensors())  # as Average does
        assert names == list(model.state_tensors())
    assert entry(name)


def test_the_trunk_learns_more_slowly() -> None:
    model = models.fcn16s(num_classes=2, width=1 / 64)
    groups = optim.parameter_groups(model, 0.1, 1e-4, 2.0)
    scaled = scale_lr(groups, model.backbone, 0.25)
    own = {*model.backbone.parameters()}
    before = {p: (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    after = {p: (g["lr"], g["weight_decay"]) for g in scaled for p in g["params"]}
    assert before.keys() == after.keys()
    for p, (lr, decay) in before.items():
        assert after[p] == (lr * (0.25 if p in own else 1.0), decay)


def test_a_frozen_trunk_stays_as_it_is(tmp_path: Path, tree: Path) -> None:
    page = cli.load("tinyfcn.examples.train_voc")
    options = ["--data-root", tree, "--width", 1 / 64, "--iterations", 2, "--batch-size", 4]
    begin = [str(word) for word in [*options, "--out", tmp_path / "a"]]
    page.main(begin)
    more = ["--init-from", tmp_path / "a" / "last.npz", "--freeze", "trunk", "--lr-trunk", 0.5]
    page.main([str(word) for word in [*options, *more, "--out", tmp_path / "b"]])
    first, second = (checkpoint.load(tmp_path / x / "last.npz")["model"] for x in "ab")
    changed = {name for name in first if (first[name] != second[name]).any()}
    assert not {name for name in changed if name.startswith("backbone.")}
    assert len(changed) > 5
    # A network that goes on is frozen as well.
    page.main(["--out", str(tmp_path / "b"), "--resume", "--iterations", "3"])
    third = checkpoint.load(tmp_path / "b" / "last.npz")["model"]
    changed = {name for name in second if (second[name] != third[name]).any()}
    assert changed and not {name for name in changed if name.startswith("backbone.")}


# ---- averaged weights ----


def test_the_average_follows_the_weights(tmp_path: Path, make_trainer: Make) -> None:
    run = make_trainer(tmp_path, iterations=7)
    run.average = Average(run.model, 0.6)
    seen = [run.model.state_dict()]
    step = run.schedule.step

    def noted() -> None:
        step()
        seen.append(run.model.state_dict())

    run.schedule.step = noted
    run.fit()
    expected = {name: array.astype(float) for name, array in seen[0].items()}
    for number, state in enumerate(seen[1:], 1):
        keep = min(0.6, (1 + number) / (10 + number))
        for name, array in state.items():
            expected[name] = keep * expected[name] + (1 - keep) * array
    saved = checkpoint.load(run.folder.last)
    for name, array in saved["model"].items():
        if name == "1.num_batches_tracked":
            assert array == seen[-1][name] == 7
        elif "running" not in name:  # those of batch norm are taken anew
            np.testing.assert_allclose(array, expected[name], rtol=1e-5, atol=1e-6)
            assert (array != saved["learning"][name]).any()
        np.testing.assert_array_equal(saved["learning"][name], seen[-1][name])


def test_the_average_is_what_is_scored_and_saved(tmp_path: Path, make_trainer: Make) -> None:
    run = make_trainer(tmp_path, iterations=5, lr=0.1)
    run.average = Average(run.model, 0.9)
    run.fit()
    (row,) = run.folder.read_log()
    how = run.validation, run.loader.preprocessing
    scores = [
        evaluate(model, *how).scores.pixel_accuracy for model in (run.average.model, run.model)
    ]
    assert row["pixel_accuracy"] == scores[0] != scores[1]
    run.model.load_state_dict(checkpoint.load(run.folder.best)["model"])
    assert evaluate(run.model, *how).scores.pixel_accuracy == scores[0]


@pytest.mark.parametrize("stop", [1, 4, 8])
def test_an_interrupted_run_goes_on_bit_by_bit(
    tmp_path: Path, make_trainer: Make, outcome: Callable[[Path], Any], stop: int
) -> None:
    def made(folder: str) -> Any:
        run = make_trainer(tmp_path / folder)
        run.average, run.clip_norm, run.patience = Average(run.model, 0.9), 0.5, 2
        run.still = [run.model[1]]
        return run

    made("straight").fit()
    run = made("parts")
    loss = run.loss

    def interrupted(logits: Tensor, labels: Tensor) -> Tensor:
        if run.progress.iteration == stop:
            run._stop.number = signal.SIGINT
        return loss(logits, labels)

    run.loss = interrupted
    with pytest.raises(Stopped):
        run.fit()
    rest = made("parts")
    rest.load_state_dict(checkpoint.load(run.folder.last))
    rest.fit()
    assert outcome(tmp_path / "parts") == outcome(tmp_path / "straight")


def test_a_run_goes_on_from_what_learns(tmp_path: Path, make_trainer: Make) -> None:
    run = make_trainer(tmp_path / "a", iterations=5)
    run.average = Average(run.model, 0.9)
    run.fit()
    saved = checkpoint.load(run.folder.best)
    without, begun = make_trainer(tmp_path / "b"), make_trainer(tmp_path / "c")
    without.load_state_dict(saved)
    begun.average = Average(begun.model, 0.9)
    begun.load_state_dict({key: part for key, part in saved.items() if key != "learning"})
    for name, array in without.model.state_dict().items():
        np.testing.assert_array_equal(array, saved["learning"][name])
    for model in (begun.model, begun.average.model):  # a run that had no average begins one
        for name, array in model.state_dict().items():
            np.testing.assert_array_equal(array, saved["model"][name])


# ---- an early end ----


def test_patience_ends_a_run(
    tmp_path: Path, make_trainer: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    def made(patience: int | None, folder: str) -> Any:
        run = make_trainer(tmp_path / folder, iterations=20, lr=0.0)
        run.patience, run.still = patience, [run.model]  # nothing changes: no epoch is better
        return run

    run = made(2, "a")
    run.fit()
    assert [row["epoch"] for row in run.folder.read_log()] == [1, 2, 3]
    assert "no better mean IU in 2 epochs" in capsys.readouterr().err
    saved = checkpoint.load(run.folder.last)
    assert (saved["progress"]["epoch"], saved["progress"]["best_epoch"]) == (3, 1)
    for patience, epochs in ((2, 3), (3, 4), (None, 4)):  # of 5 steps each
        again = made(patience, "a")
        again.load_state_dict(checkpoint.load(run.folder.last))
        again.fit()
        assert again.progress.epoch == epochs


def test_models_that_share_statistics_can_be_averaged() -> None:
    group = tinyfcn.parallel.Group()
    layer = nn.BatchNorm2d(3)
    tinyfcn.parallel.batch_norm.sync_batch_norm(layer, group)
    assert Average(layer, 0.9).model.group is group
