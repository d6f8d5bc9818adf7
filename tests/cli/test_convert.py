"""``tinyfcn convert`` as a user runs it."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from tinyfcn import cli, models, tensor, weights
from tinyfcn.data import CAFFE
from tinyfcn.models import registry
from tinyfcn.training import checkpoint
from tinyfcn.training.model_spec import ModelSpec
from tinyfcn.training.published import load_model
from tinyfcn.weights import npz, safetensors


def convert(*arguments: object) -> int:
    try:
        return cli.main(["convert", *map(str, arguments)])
    except SystemExit as stop:
        assert isinstance(stop.code, int)
        return stop.code


def test_there_and_back(tmp_path: Path) -> None:
    arrays = {"conv.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "file": np.ones(2)}
    with open(tmp_path / "a.npz", "wb") as file:
        npz.write(file, arrays)
    assert convert(tmp_path / "a.npz", tmp_path / "b.safetensors") == 0
    assert convert(tmp_path / "b.safetensors", tmp_path / "c.npz") == 0
    loaded = weights.load(tmp_path / "c.npz")
    assert list(loaded) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)


def test_a_checkpoint_becomes_a_file_that_knows_its_model(tmp_path: Path) -> None:
    about = ModelSpec("fcn32s", ("a", "b"), {"width": 1 / 64, "geometry": "reference"}, CAFFE)
    state = about.build().state_dict()
    checkpoint.save(tmp_path / "a.npz", {"model": state, "description": about.to_dict()})
    assert convert(tmp_path / "a.npz", tmp_path / "b.safetensors") == 0
    model, found = load_model(tmp_path / "b.safetensors")
    assert found == about
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, state[name])


def test_with_a_model_names_are_translated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    narrow = functools.partial(models.fcn32s, width=1 / 64)
    known = registry.entry("fcn32s")
    monkeypatch.setitem(registry._NETWORKS, "fcn32s", known._replace(make=narrow))
    state = models.fcn32s(num_classes=2, width=1 / 64).state_dict()
    theirs = {"fc6.weight": state["fc6.weight"].reshape(64, -1)}
    np.savez(tmp_path / "a.npz", **{**state, **theirs})
    target = tmp_path / "b.safetensors"
    assert convert(tmp_path / "a.npz", target, "--model", "fcn32s") == 0
    file = weights.read(target)
    assert file.arrays["fc6.weight"].shape == state["fc6.weight"].shape
    assert file.description is not None
    assert file.description["model"] == "fcn32s"
    assert file.description["arguments"]["geometry"] == "aligned"  # the names are not Caffe's
    more = ("--model", "fcn32s", "--geometry", "reference")
    assert convert(tmp_path / "a.npz", target, *more) == 0
    about = weights.read(target).description
    assert about is not None
    assert about["arguments"]["geometry"] == "reference"


def test_what_cannot_be_done_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").write_text("nothing of the kind, at length")
    for source, target, words in (
        ("a", "b.safetensors", "not a format"),
        ("none", "b.npz", "no such file"),
        ("a", "b.txt", "must end in"),
    ):
        assert convert(tmp_path / source, tmp_path / target) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert words in said
        assert not (tmp_path / target).exists()
    arguments = (tmp_path / "a", tmp_path / "b.npz", "--at-once")
    assert convert(*arguments) == 2
    assert "--at-once goes with --model" in capsys.readouterr().err
    for more in (["--one-size"], ["--input", "3x8x8"]):
        assert convert(tmp_path / "a", tmp_path / "b.npz", *more) == 2
        assert f"error: {more[0]} goes with a .onnx, not " in capsys.readouterr().err


def test_how_images_are_prepared_is_said_where_it_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays, target = {"weight": np.ones(2, np.float32)}, tmp_path / "b.npz"
    (tmp_path / "a.safetensors").write_bytes(b"".join(safetensors.dump(arrays, CAFFE)))
    np.savez(tmp_path / "a.npz", **arrays)
    assert convert(tmp_path / "a.safetensors", target) == 0
    assert f"prepared, a .npz does not: {CAFFE}" in capsys.readouterr().out
    assert convert(tmp_path / "a.npz", target) == 0
    assert capsys.readouterr().out == f"{target}: 1 arrays, 2 numbers\n"


def test_a_checkpoint_becomes_a_network_for_other_programs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ort = pytest.importorskip("onnxruntime")
    about = ModelSpec("segnet_basic", ("a", "b"), {"width": 1 / 8}, CAFFE)
    model = about.build()
    source, target = tmp_path / "a.npz", tmp_path / "b.onnx"
    checkpoint.save(source, {"model": model.state_dict(), "description": about.to_dict()})
    assert convert(source, target) == 0
    assert str(CAFFE) in capsys.readouterr().out
    runs = ort.InferenceSession(target, providers=["CPUExecutionProvider"])
    written = json.loads(runs.get_modelmeta().custom_metadata_map["tinyfcn"])
    assert ModelSpec.from_dict(written) == about
    images = np.random.default_rng(0).standard_normal((1, 3, 37, 50), np.float32)
    (scores,) = runs.run(None, {"images": images})
    np.testing.assert_allclose(scores, model.eval()(tensor(images)).numpy(), rtol=1e-4, atol=1e-4)

    assert convert(source, target, "--one-size", "--input", "3x20x30") == 0
    runs = ort.InferenceSession(target, providers=["CPUExecutionProvider"])
    assert runs.get_inputs()[0].shape == [1, 3, 20, 30]


def test_a_network_for_other_programs_has_to_be_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "a.npz", weight=np.ones(2, np.float32))
    assert convert(tmp_path / "a.npz", tmp_path / "b.onnx") == 2
    assert "give --model" in capsys.readouterr().err
    assert convert(tmp_path / "a.npz", tmp_path / "b.onnx", "--input", "3,4,5") == 2
    assert "expected 3x500x500, got '3,4,5'" in capsys.readouterr().err
    assert not (tmp_path / "b.onnx").exists()


def test_without_onnx_its_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    about = ModelSpec("fcn32s", ("a", "b"), {"width": 1 / 64})
    state = about.build().state_dict()
    checkpoint.save(tmp_path / "a.npz", {"model": state, "description": about.to_dict()})
    assert convert(tmp_path / "a.npz", tmp_path / "b.onnx") == 2
    error = capsys.readouterr().err
    assert "tinyfcn[onnx]" in error and error.count("\n") == 1
