"""The network that the options ask for: its arguments, its weights, its preprocessing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinyfcn import models
from tinyfcn.cli.errors import UsageError
from tinyfcn.cli.network import build, spec_of
from tinyfcn.cli.train_options import parse_options
from tinyfcn.data import CAFFE, TORCHVISION, VOC_CLASSES
from tinyfcn.training import checkpoint
from tinyfcn.training.checkpoint import CheckpointError
from tinyfcn.training.model_spec import ModelSpec
from tinyfcn.weights import safetensors

CLASSES = ("background", "cat", "dog")


def test_dropout_is_the_networks_own_unless_it_is_given() -> None:
    unet = ["--model", "unet", "--width", "0.03125"]
    for options, expected in (([], 0.5), (["--dropout", "0.25"], 0.25), (["--dropout", "0"], 0.0)):
        spec = spec_of(parse_options([*unet, *options]), CLASSES)
        assert spec.build().dropout.p == expected


def test_preprocessing_goes_with_the_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.safetensors"
    state = models.fcn32s(width=1 / 64).state_dict()
    path.write_bytes(b"".join(safetensors.dump(state, CAFFE)))
    command = ["--model", "fcn32s", "--pretrained", str(path), "--out", str(tmp_path / "out")]
    options = parse_options([*command, "--width", "0.015625", "--no-batch-norm"])
    spec = spec_of(options, VOC_CLASSES)
    assert spec.preprocessing == CAFFE
    assert "the weights expect" in capsys.readouterr().out
    build(spec, options)
    assert f"{path}: 33 of 33 arrays copied" in capsys.readouterr().out

    options = parse_options([*command, "--preprocessing", "torchvision"])
    assert spec_of(options, VOC_CLASSES).preprocessing == TORCHVISION
    assert "though the weights expect" in capsys.readouterr().out

    state = {"description": spec.to_dict(), "model": {}, "arguments": {}}
    checkpoint.save(tmp_path / "last.npz", state)
    options = parse_options(["--resume", str(tmp_path / "last.npz")])
    assert spec_of(options, VOC_CLASSES).preprocessing == CAFFE


def test_published_weights_in_a_narrow_network(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **models.fcn32s(num_classes=3, width=1 / 32).state_dict())
    command = ["--model", "fcn32s", "--pretrained", str(path), "--no-batch-norm", "--width"]
    options = parse_options([*command, str(1 / 64)])
    with pytest.raises(UsageError, match=r"other shapes.*have --width 1, not 0\.015625"):
        build(spec_of(options, CLASSES), options)


def saved(path: Path, spec: ModelSpec) -> list[str]:
    """A checkpoint of new weights; its path as an argument."""
    checkpoint.save(path, {
        "description": spec.to_dict(), "model": spec.build().state_dict(),
        "arguments": {"model": spec.model, **spec.arguments},
    })  # fmt: skip
    return [str(path)]


def test_a_run_goes_on_with_its_own_network_only(tmp_path: Path) -> None:
    spec = ModelSpec("fcn32s", CLASSES, {"width": 1 / 64, "batch_norm": False})
    path = saved(tmp_path / "a.npz", spec)
    for change in (["--width", "0.03125"], ["--model", "unet", "--width", "0.03125"]):
        options = parse_options(["--resume", *path, *change])
        with pytest.raises(UsageError) as rejected:
            build(spec_of(options, CLASSES), options)
        words = str(rejected.value)
        assert "is for fcn32s for 3 classes (width 0.015625" in words
        assert f"not for {options.model} for 3 classes" in words and "width 0.03125" in words
        assert "\n" not in words


def test_weights_of_another_width_are_told_by_what_they_are_for(tmp_path: Path) -> None:
    spec = ModelSpec("fcn32s", CLASSES, {"width": 1 / 32, "batch_norm": False})
    path = saved(tmp_path / "a.npz", spec)
    options = parse_options(["--init-from", *path, "--model", "fcn16s", "--width", "0.015625"])
    with pytest.raises(UsageError, match=r"other shapes.*; the file is for fcn32s.*width 0\.03125"):
        build(spec_of(options, CLASSES), options)


def test_other_classes_are_named(tmp_path: Path) -> None:
    spec = ModelSpec("fcn32s", CLASSES, {"width": 1 / 64, "batch_norm": False})
    options = parse_options(["--resume", *saved(tmp_path / "a.npz", spec)])
    assert build(spec_of(options, CLASSES), options)
    with pytest.raises(UsageError, match="--range: the run began with none, and keeps it"):
        parse_options(["--resume", options.resume, "--range", "0,4095"])
    for classes, words in (
        (
            ("sky", "sea"),
            r"a\.npz is for 3 classes \(.*the data has 2 classes \(sky, sea\)",
        ),
        (("background", "dog", "cat"), "--mask-values 0:background,2:cat,1:dog puts them in its"),
        (
            ("background", "cat", "cow"),
            "the first that differ are dog and cow; --classes gives",
        ),
    ):
        with pytest.raises(CheckpointError, match=words):
            build(spec_of(options, classes), options)


def test_what_to_type_is_of_the_values_in_the_masks(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npz", ModelSpec("fcn32s", CLASSES, {"width": 1 / 64}))
    values = "7:dog,9:dog,0:cat,255:background"
    options = parse_options(["d", "--resume", *path, "--mask-values", values])
    with pytest.raises(CheckpointError, match="--mask-values 255:background,0:cat,7:dog,9:dog "):
        build(spec_of(options, ("dog", "cat", "background")), options)
    here = CLASSES[:1] + CLASSES[:0:-1]  # as the data names them, or as outlines were given names
    drawn = '{"shapes": [], "imageData": null}'
    (tmp_path / "a.json").write_text(drawn)
    for given in ([], ["--classes", ",".join(here)]):
        options = parse_options([str(tmp_path), "--resume", *path, *given])
        with pytest.raises(CheckpointError, match="--classes background,cat,dog puts them in its"):
            build(spec_of(options, here), options)


def test_published_weights_for_other_channels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """BGR is turned, the mean is that of grey, and a checkpoint goes on with its own channels."""
    path, rgb = tmp_path / "a.safetensors", models.fcn32s(width=1 / 64).state_dict()
    path.write_bytes(b"".join(safetensors.dump(rgb, CAFFE)))
    command = ["--model", "fcn32s", "--pretrained", str(path), "--width", str(1 / 64)]
    options = parse_options([*command, "--no-batch-norm", "--channels", "4", "--range", "0,4095"])
    spec = spec_of(options, VOC_CLASSES)
    assert spec.arguments["in_channels"] == 4
    own = spec.preprocessing
    assert (own.channel_order, own.scale, own.range) == ("RGB", 1, (0, 4095))
    np.testing.assert_allclose(own.mean, [np.mean(CAFFE.mean)] * 4)
    model = build(spec, options)
    assert "backbone.0.weight made of kernels for RGB: each in turn" in capsys.readouterr().out
    ours, theirs = model.state_dict()["backbone.0.weight"], rgb["backbone.0.weight"]
    np.testing.assert_allclose(ours, theirs[:, [2, 1, 0, 2]] * 0.75)

    arguments = {**options.values, "pretrained": None}
    state = {"description": spec.to_dict(), "model": model.state_dict(), "arguments": arguments}
    checkpoint.save(tmp_path / "last.npz", state)
    options = parse_options(["--resume", str(tmp_path / "last.npz")])
    assert spec_of(options, VOC_CLASSES) == spec
    options = parse_options(["--resume", str(tmp_path / "last.npz"), "--channels", "1"])
    with pytest.raises(UsageError, match=r"is for fcn32s .*in_channels 4.*, not for fcn32s"):
        build(spec_of(options, VOC_CLASSES), options)


@pytest.mark.parametrize("text", ["4095", "0,1,2", "7,7", "a,b", "0,nan"])
def test_a_range_is_two_numbers(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_options([f"--range={text}"])
    assert "--range: expected two numbers, the smaller first, as 0,4095" in capsys.readouterr().err
