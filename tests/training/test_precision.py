"""Training in half precision: interrupted, with steps skipped, and where it cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinyfcn import Tensor, backend
from tinyfcn.training import checkpoint
from tinyfcn.training.errors import Diverged, Stopped
from tinyfcn.training.precision import Precision
from tinyfcn.training.run import Run

pytestmark = pytest.mark.usefixtures("no_curves")
Make = Callable[..., Any]


def learns(run: Run, name: str) -> Run:
    run.precision = Precision(name)
    return run


def overflows(run: Any, steps: set[int]) -> None:
    """The gradients of these steps are beyond float16, while the loss is as it was."""
    loss = run.loss

    def steep(logits: Tensor, labels: Tensor) -> Tensor:
        value: Tensor = loss(logits, labels)
        if run.progress.iteration in steps:
            return value + (value * 1e30 - float((value * 1e30).item()))
        return value

    run.loss = steep


@pytest.mark.parametrize(("name", "clip_norm"), [("fp16", None), ("fp16", 1e-6), ("bf16", None)])
def test_losses_are_those_of_float32_as_far_as_digits_allow(
    tmp_path: Path, make_trainer: Make, name: str, clip_norm: float | None
) -> None:
    """Each of 12 steps adds roundings; weights and scores stay float32."""
    losses = {}
    for kind in ("float32", name):
        run = learns(make_trainer(tmp_path / kind), kind)
        run.clip_norm = clip_norm
        run.fit()
        losses[kind] = [row["train_loss"] for row in run.folder.read_log()]
        state = checkpoint.load(run.folder.last)
        assert {str(x.dtype) for x in state["model"].values()} == {"float32", "int64"}
    unit = {"fp16": 2.0**-11, "bf16": 2.0**-8}[name]
    difference = np.abs(np.subtract(*losses.values()))
    assert 0 < difference.max() < 12 * unit


def test_on_the_emulator(tmp_path: Path, make_trainer: Make) -> None:
    losses = []
    for which in ("numpy", "emulator"):
        with backend.using(which):
            run = learns(make_trainer(tmp_path / which, iterations=2), "fp16")
            run.fit()
        losses.append(run.folder.read_log()[0]["train_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=2**-9)


@pytest.mark.parametrize("stop", [1, 3, 7])
def test_an_interrupted_run_is_bit_identical(
    tmp_path: Path, make_trainer: Make, outcome: Callable[[Path], Any], stop: int
) -> None:
    """Also where the stop comes right after a step that was skipped; so the scale is kept."""
    for part in ("straight", "parts"):
        run = learns(make_trainer(tmp_path / part, accumulate=2, iterations=9), "fp16")
        overflows(run, {1, 2, 3})
        if part == "parts":
            run.after_step = _stopping(run, stop)
            with pytest.raises(Stopped):
                run.fit()
            run = learns(make_trainer(tmp_path / part, accumulate=2, iterations=9), "fp16")
            overflows(run, {1, 2, 3})
            run.load_state_dict(checkpoint.load(run.folder.last))
        run.fit()
        assert run.precision.scaler.get_scale() == 2.0**13
    assert outcome(tmp_path / "parts") == outcome(tmp_path / "straight")


def _stopping(run: Any, iteration: int) -> Callable[[], None]:
    after_step = run.after_step

    def stopped() -> None:
        if run.progress.iteration == iteration:
            run._stop.number = 2
        after_step()

    return stopped


def test_a_skipped_step_changes_no_weight_and_is_no_error(
    tmp_path: Path, make_trainer: Make
) -> None:
    run = learns(make_trainer(tmp_path, iterations=4), "fp16")
    overflows(run, {0, 1, 2, 3})
    weights = [p.numpy().copy() for p in run.model.parameters()]
    run.fit()
    for p, before in zip(run.model.parameters(), weights, strict=True):
        np.testing.assert_array_equal(p.numpy(), before)
    assert run.progress.iteration == 4
    assert run.precision.scaler.get_scale() == 2.0**12


def test_skipping_has_an_end(tmp_path: Path, make_trainer: Make) -> None:
    run = learns(make_trainer(tmp_path, iterations=99), "fp16")
    overflows(run, set(range(99)))
    run.precision.scaler.load_state_dict({"scale": 2.0**-13, "_growth_tracker": 0})
    with pytest.raises(
        Diverged, match=r"^the gradient is not finite .*numbers of fp16 end at 65504"
    ):
        run.fit()
    assert run.progress.iteration == 2


def test_a_loss_beyond_float16_is_said(tmp_path: Path, make_trainer: Make) -> None:
    run = learns(make_trainer(tmp_path), "fp16")
    run.model[0].weight.data[...] = 6e4
    with pytest.raises(Diverged, match=r"^the loss is nan in epoch 1, iteration 1: Conv.*fp16 end"):
        run.fit()


def test_a_checkpoint_of_another_precision_goes_on(tmp_path: Path, make_trainer: Make) -> None:
    for first, then in (("float32", "fp16"), ("fp16", "float32")):
        run = learns(make_trainer(tmp_path / first, iterations=3), first)
        run.fit()
        again = learns(make_trainer(tmp_path / first, iterations=5), then)
        again.load_state_dict(checkpoint.load(run.folder.last))
        again.fit()
        assert again.progress.iteration == 5


def test_tf32_is_said_to_mean_nothing_on_a_cpu() -> None:
    with backend.using("numpy"):
        assert Precision("tf32").note == "the backend numpy has no tf32, and computes in float32"
        assert not Precision("bf16").note + Precision("float32").note
    with backend.using("emulator"):
        assert not Precision("tf32").note
    with backend.using("reference"):
        assert "reference has no fp16" in Precision("fp16").note
        assert Precision("fp16").images(np.ones(1, np.float32)).dtype == np.float32
