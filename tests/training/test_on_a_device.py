"""Where looking at a value waits for a device, a training looks once a step, and loses nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinyfcn import Tensor, optim
from tinyfcn.backend.cpu import NumpyBackend
from tinyfcn.training import checkpoint
from tinyfcn.training.errors import Diverged

Make = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("no_curves")


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A function that makes a device of the NumPy backend, as far as a run can tell."""
    return lambda: monkeypatch.setattr(NumpyBackend, "eager", False)


def test_a_run_is_the_same(
    tmp_path: Path, make_trainer: Make, outcome: Callable[[Path], Any], device: Callable[[], None]
) -> None:
    make_trainer(tmp_path / "eager", accumulate=2).fit()
    device()
    make_trainer(tmp_path / "device", accumulate=2).fit()
    assert outcome(tmp_path / "device") == outcome(tmp_path / "eager")


@pytest.mark.parametrize("late", [True, False])
def test_losses_are_read_between_the_last_backward_pass_and_the_step(
    tmp_path: Path,
    make_trainer: Make,
    device: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    late: bool,
) -> None:
    if late:
        device()
    seen: list[str] = []

    def watched(cls: Any, name: str) -> None:
        method = getattr(cls, name)

        def watching(self: Any, *given: Any) -> Any:
            seen.append(name)
            return method(self, *given)

        monkeypatch.setattr(cls, name, watching)

    run = make_trainer(tmp_path, iterations=2, accumulate=2)
    for cls, name in ((Tensor, "item"), (Tensor, "backward"), (optim.Adam, "step")):
        watched(cls, name)
    run.fit()
    first = seen[: seen.index("step")]
    if late:
        assert first == ["backward", "backward", "item", "item"]
    else:
        assert first[:4] == ["item", "backward", "item", "backward"]


@pytest.mark.parametrize("batch", [0, 1])
def test_a_loss_that_is_not_finite_stops_before_its_step(
    tmp_path: Path, make_trainer: Make, device: Callable[[], None], batch: int
) -> None:
    device()
    run = make_trainer(tmp_path, iterations=5, accumulate=2)
    loss, spoiled = run.loss, 2 + batch

    def counting(logits: Tensor, labels: Any) -> Tensor:
        position = 2 * run.progress.iteration + len(run._noted)
        return loss(logits * (math.nan if position == spoiled else 1.0), labels)

    run.loss = counting
    with pytest.raises(Diverged, match=r"the loss is nan in epoch 1, iteration 2.*last\.npz"):
        run.fit()
    state = checkpoint.load(run.folder.last)
    assert state["progress"]["iteration"] == 1
    assert all(np.isfinite(array).all() for array in state["model"].values())
    assert all(np.isfinite(p.data).all() for p in run.model.parameters()), "no step was made"
