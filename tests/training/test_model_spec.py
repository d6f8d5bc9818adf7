"""Models from checkpoints, and weights copied from one model to another."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinyfcn import models, nn, weights
from tinyfcn.data import CAFFE, VOC_CLASSES
from tinyfcn.training import checkpoint
from tinyfcn.training.checkpoint import CheckpointError
from tinyfcn.training.model_spec import ModelSpec, copy_matching
from tinyfcn.training.published import load_model
from tinyfcn.weights import WeightsError

CLASSES = ("background", "cat", "dog")
VGG16 = [f"conv{stage}_{i}" for stage, n in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, n + 1)]


def description(model: str = "fcn32s", classes: tuple[str, ...] = CLASSES) -> ModelSpec:
    return ModelSpec(model, classes, {"width": 1 / 64, "geometry": "reference"}, CAFFE)


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
    with pytest.raises(WeightsError, match=r"a\.npz does not say which model"):
        load_model(path)
    for about, words in (
        (description("fcn4s"), r"a\.npz.*fcn4s"),
        (ModelSpec("fcn8s", CLASSES, {"depth": 3}), r"a\.npz.*depth"),
        (description(), r"a\.npz does not hold a fcn32s for 3 classes .*none of its arrays"),
    ):
        checkpoint.save(path, {"description": about.to_dict(), "model": {}})
        with pytest.raises(WeightsError, match=words):
            load_model(path)
    state = description().build().state_dict()
    del state["fc6.weight"]
    checkpoint.save(path, {"description": description().to_dict(), "model": state})
    with pytest.raises(WeightsError, match=r"not all of fcn32s is in the file: .*new: fc6\.weight"):
        load_model(path)


@pytest.mark.parametrize(
    "change",
    [
        {"model": 3},
        {"model": ["fcn32s"]},
        {"classes": 10**9},
        {"classes": ["a", 1, None]},
        {"classes": ["\ud800", "b", "c"]},
        {"classes": ["c" * 10**6, "b", "c"]},
        {"classes": [str(i) for i in range(10**5)]},
        {"arguments": [1]},
        {"arguments": {"width": 1e9}},
        {"arguments": {"width": 900}},
        {"arguments": {"width": "1"}},
        {"arguments": {"width": -1}},
        {"arguments": {"width": float("nan")}},
        {"arguments": {"geometry": "round"}},
        {"arguments": {"dropout": {"a": 1}}},
        {"arguments": {"num_classes": 5}},
        {"preprocessing": {**CAFFE.to_dict(), "mean": [float("nan")] * 3}},
        {"preprocessing": {**CAFFE.to_dict(), "std": [0, 1, 1]}},
        {"preprocessing": {**CAFFE.to_dict(), "std": [1, 1]}},
        {"preprocessing": {**CAFFE.to_dict(), "scale": 10**400}},
        {"preprocessing": {**CAFFE.to_dict(), "scale": float("inf")}},
        {"preprocessing": {"more": 1}},
        {"preprocessing": None},
    ],
    ids=range(23),
)
def test_a_foreign_description_builds_nothing(
    tmp_path: Path, whole: dict[str, Any], change: dict[str, Any]
) -> None:
    state = {**whole, "description": {**whole["description"], **change}}
    checkpoint.save(tmp_path / "a.npz", state)
    tracemalloc.start()
    try:
        with pytest.raises((WeightsError, CheckpointError)) as caught:
            load_model(tmp_path / "a.npz")
        assert tracemalloc.get_traced_memory()[1] < 50 << 20
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize(
    "value",
    [10**7, -1, float("inf"), {"a": 1}, [0.5] * 100, [[1]], [10**7], np.ones(2)],
    ids=range(8),
)
def test_arguments_that_cost_time(value: Any) -> None:
    values = {**description("same_resolution").to_dict(), "arguments": {"depth": value}}
    with pytest.raises(ValueError, match="nothing that a model takes"):
        ModelSpec.from_dict(values)


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    """A checkpoint that can be loaded."""
    about = description()
    return {"description": about.to_dict(), "model": about.build().state_dict()}


def test_staged_training_copies_the_coarser_network() -> None:
    coarse, fine = (
        models.create(name, num_classes=3, width=1 / 64) for name in ("fcn32s", "fcn16s")
    )
    state = coarse.state_dict()
    result = copy_matching(fine, state)
    after = fine.state_dict()
    for name in result.arrays:
        np.testing.assert_array_equal(after[name], state[name])
    trained = {name for name, _ in coarse.named_parameters() if not name.startswith("upscore")}
    assert trained <= set(result.arrays)
    assert {"score_pool4.weight", "score_pool4.bias"} <= set(result.new)
    assert not after["score_pool4.weight"].any()  # a new skip adds nothing yet
    assert result.unused == ["upscore.weight"]
    assert "copied; new: " in str(result)
    assert "not used: upscore.weight" in str(result)


def test_a_changed_head_is_new_and_nothing_in_common_is_rejected() -> None:
    model = models.create("fcn32s", num_classes=3, width=1 / 64)
    other = models.create("fcn32s", num_classes=5, width=1 / 64).state_dict()
    result = copy_matching(model, other)
    assert {"score_fr.weight", "score_fr.bias"} <= set(result.new) & set(result.unused)
    assert not model.state_dict()["score_fr.weight"].any()
    with pytest.raises(ValueError, match=r"none of its arrays.*x \(2, 3\)"):
        copy_matching(model, {"x": np.ones((2, 3))})


def caffe_layer(name: str, *arrays: np.ndarray) -> bytes:
    """A layer of a caffemodel: field 100 {name 1, blobs 7 {shape 7 {dim 1}, data 5}}."""

    def varint(n: int) -> bytes:
        return bytes([n & 127 | 128]) + varint(n >> 7) if n > 127 else bytes([n])

    def part(number: int, value: bytes) -> bytes:
        return varint(number << 3 | 2) + varint(len(value)) + value

    blobs = b"".join(
        part(
            7, part(7, part(1, b"".join(map(varint, a.shape)))) + part(5, a.astype("<f4").tobytes())
        )
        for a in arrays
    )
    return part(100, part(1, name.encode()) + blobs)


def published(path: Path, model: nn.Module, *more: bytes) -> Path:
    """A caffemodel with the layers of an FCN under their published names and shapes."""
    state = {name: np.array(array) for name, array in model.state_dict().items()}
    rng = np.random.default_rng(0)
    layers = [*more]
    for theirs, ours in [
        *zip(
            VGG16,
            (f"backbone.{n}" for n in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)),
            strict=True,
        ),
        *((name, name) for name in ("fc6", "fc7", "score_fr", "score_pool4", "score_pool3")),
    ]:
        if f"{ours}.weight" in state:
            shapes = [state[f"{ours}.{part}"].shape for part in ("weight", "bias")]
            layers.append(caffe_layer(theirs, *(rng.normal(size=shape) for shape in shapes)))
    for name in ("upscore", "upscore2", "upscore_pool4", "upscore16", "upscore8"):
        if f"{name}.weight" in state:
            own = state[f"{name}.weight"]
            full = np.zeros((len(own), len(own), *own.shape[2:]))
            full[range(len(own)), range(len(own))] = own[:, 0]
            layers.append(caffe_layer(name, full))
    path.write_bytes(b"".join(layers))
    return path


@pytest.mark.parametrize("name", ["fcn32s", "fcn16s", "fcn8s"])
def test_a_published_fcn(tmp_path: Path, name: str) -> None:
    path = published(tmp_path / "a", models.create(name, width=1 / 64))
    model, about = load_model(path, name, width=1 / 64)
    arrays = weights.load(path)
    state = model.state_dict()
    for ours, theirs in (("backbone.28", "conv5_3"), ("fc6", "fc6"), ("score_fr", "score_fr")):
        np.testing.assert_array_equal(state[f"{ours}.weight"], arrays[f"{theirs}.weight"])
    assert about.classes == VOC_CLASSES
    assert about.preprocessing == CAFFE
    assert about.arguments == {
        "geometry": "reference", "at_once": False, "batch_norm": False, "width": 1 / 64,
    }  # fmt: skip


def test_published_variants(tmp_path: Path) -> None:
    scale = caffe_layer("scale_pool4", np.full(8, 0.01))
    small = models.create("fcn8s", num_classes=5, width=1 / 64)
    model, about = load_model(published(tmp_path / "a", small, scale), "fcn8s", width=1 / 64)
    assert about.arguments["at_once"] is True
    assert len(about.classes) == model.num_classes == 5
    with pytest.raises(ValueError, match=r"not all of fcn8s is in the file.*new: score_pool3"):
        coarse = models.create("fcn16s", num_classes=5, width=1 / 64)
        load_model(published(tmp_path / "b", coarse), "fcn8s", width=1 / 64)


def test_a_spec_without_arguments() -> None:
    assert str(ModelSpec("resnet18", CLASSES)) == "resnet18 for 3 classes"
