"""Models from checkpoints, and weights copied from one model to another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinyfcn import models
from tinyfcn.data import CAFFE
from tinyfcn.training import checkpoint
from tinyfcn.training.checkpoint import CheckpointError
from tinyfcn.training.description import (
    Description,
    check_same_classes,
    copy_matching,
    load_model,
)

CLASSES = ("background", "cat", "dog")


def description(model: str = "fcn32s", classes: tuple[str, ...] = CLASSES) -> Description:
    return Description(model, classes, {"width": 1 / 64, "geometry": "reference"}, CAFFE)


def test_a_model_comes_back(tmp_path: Path) -> None:
    about = description()
    model = about.build()
    state = {"description": about.to_dict(), "model": model.state_dict()}
    checkpoint.save(tmp_path / "a.npz", state)
    loaded, found = load_model(tmp_path / "a.npz")
    assert found == about
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(loaded.state_dict()[name], array)


def test_what_cannot_be_built_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    checkpoint.save(path, {"model": {}})
    with pytest.raises(CheckpointError, match=r"a\.npz: it does not say which model"):
        load_model(path)
    for about, words in (
        (description("fcn4s"), "fcn4s"),
        (Description("fcn8s", CLASSES, {"depth": 3}), "depth"),
        (description(), r"(?s)a\.npz.*missing: .*fc6\.weight"),
    ):
        checkpoint.save(path, {"description": about.to_dict(), "model": {}})
        with pytest.raises(CheckpointError, match=words):
            load_model(path)


def test_other_classes_are_named() -> None:
    check_same_classes("a.npz", list(CLASSES), CLASSES)
    with pytest.raises(CheckpointError, match=r"a\.npz is for 2 classes \(sky, sea\).*3 classes"):
        check_same_classes("a.npz", ("sky", "sea"), CLASSES)
    with pytest.raises(CheckpointError, match="dog, cat"):
        check_same_classes("a.npz", ("background", "dog", "cat"), CLASSES)


def test_staged_training_copies_the_coarser_network() -> None:
    coarse, fine = (
        models.create(name, num_classes=3, width=1 / 64) for name in ("fcn32s", "fcn16s")
    )
    state = coarse.state_dict()
    result = copy_matching(fine, state)
    after = fine.state_dict()
    for name in result.copied:
        np.testing.assert_array_equal(after[name], state[name])
    trained = {name for name, _ in coarse.named_parameters() if not name.startswith("upscore")}
    assert trained <= set(result.copied)
    assert {"score_pool4.weight", "score_pool4.bias"} <= set(result.new)
    assert not after["score_pool4.weight"].any()  # a new skip adds nothing yet
    assert result.unused == ["upscore.weight"]
    assert "copied; new: " in str(result)
    assert "not used: upscore.weight" in str(result)


def test_a_changed_head_is_new_and_nothing_in_common_is_refused() -> None:
    model = models.create("fcn32s", num_classes=3, width=1 / 64)
    other = models.create("fcn32s", num_classes=5, width=1 / 64).state_dict()
    result = copy_matching(model, other)
    assert {"score_fr.weight", "score_fr.bias"} <= set(result.new) & set(result.unused)
    with pytest.raises(ValueError, match=r"none of its arrays.*x \(2, 3\)"):
        copy_matching(model, {"x": np.ones((2, 3))})
