"""The model card: what it says is so, and every command and program in it runs as it stands."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tinyfcn
from tinyfcn import cli
from tinyfcn.data import CAFFE, TORCHVISION, Preprocessing, Resize, read_mask, write_voc_tree
from tinyfcn.data.transforms import resized
from tinyfcn.metrics import SCORES
from tinyfcn.training import checkpoint
from tinyfcn.training.model_card import text
from tinyfcn.training.model_spec import ModelSpec
from tinyfcn.training.published import load_model
from tinyfcn.training.run_folder import RunFolder
from tinyfcn.without_values import evaluating

NAMES = tuple(f"class {i}" for i in range(10))
ARGUMENTS = {"data_root": "/home/me/cells", "train_split": "train", "val_split": "val"}


def write_card(folder: Path, preprocessing: Preprocessing = TORCHVISION) -> str:
    """A run folder with a network that was not trained, and a photo."""
    arguments = {"width": 1 / 64, "in_channels": preprocessing.channels}
    spec = ModelSpec("fcn32s", NAMES, arguments, preprocessing)
    state = spec.build().state_dict()
    rng = np.random.default_rng(0)
    run = RunFolder(folder)
    saved = {"model": "fcn32s", "width": 1 / 64, "batch_norm": False, "classes": ",".join(NAMES)}
    saved |= {"channels": preprocessing.channels}
    if preprocessing.range:
        saved["range"] = ",".join(map(str, preprocessing.range))
    checkpoint.save(run.best, {"model": state, "description": spec.to_dict(), "arguments": saved})
    run.write_config(ARGUMENTS, model=spec.to_dict(), images=[7, 3])
    rows = [{"epoch": e, **dict.fromkeys(SCORES, e / 9), **{f"iu {n}": e / 8 for n in NAMES}}
            for e in (1, 2)]  # fmt: skip
    run.write_card([*rows, {**rows[0], "epoch": 3}])
    colours = rng.integers(0, 256, (5, 7, 3)).astype(np.uint8)
    Image.fromarray(colours).resize((210, 150)).save(folder / "photo.jpg")
    return (folder / "README.md").read_text()


def blocks(card: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", card, re.MULTILINE | re.DOTALL)


RGB, BGR = replace(TORCHVISION, resize=(90, 110)), replace(CAFFE, resize=(150,))
GREY = replace(CAFFE.for_channels(1), range=(10, 200))


@pytest.mark.parametrize("preprocessing", [RGB, BGR, GREY], ids=["RGB", "BGR", "grey"])
def test_all_that_it_says_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, preprocessing: Preprocessing
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    card = write_card(tmp_path, preprocessing)
    write_voc_tree("DATA", train=1, val=2, size=32, diameter=(10.0, 20.0))
    for block in blocks(card, "sh"):
        for line in block.splitlines():
            words = shlex.split(line)
            assert words[0] == "tinyfcn" and cli.main(words[1:]) == 0
    expected = read_mask("predictions/photo.png")
    assert len(np.unique(expected)) > 2
    ours: dict[str, Any] = {}
    others: dict[str, Any] = {}
    first, second = blocks(card, "python")
    exec(first, ours)
    exec(second, others)
    np.testing.assert_array_equal(ours["labels"], expected)
    photo = preprocessing.read("photo.jpg")
    if preprocessing.resize:
        photo = resized(photo, *Resize(preprocessing.resize).shape(*photo.shape[:2]))
    images = preprocessing.apply(photo)[None]
    model, _ = load_model("best.npz")
    with evaluating(model):
        scores = model(tinyfcn.tensor(images)).data
    np.testing.assert_allclose(others["scores"], scores, atol=2e-3 * np.abs(scores).max())
    assert others["scores"].shape == scores.shape
    assert (others["labels"] == scores.argmax(1)[0]).mean() > 0.99  # sums round differently
    assert cli.main(["predict", "model.safetensors", "photo.jpg", "--out", "again"]) == 0
    np.testing.assert_array_equal(read_mask("again/photo.png"), expected)


def test_what_it_says(tmp_path: Path) -> None:
    card = write_card(tmp_path)
    head = card.split("---\n")[1].splitlines()
    assert "pipeline_tag: image-segmentation" in head
    assert '      name: "cells"' in head and "      value: 0.2222" in head
    assert "after epoch\n2:" in card  # of the best, not of the last
    assert "| mean IU | 0.222 |" in card and "| 9 | class 9 | 0.250 |" in card
    assert "cells: 7 images of the list train" in card and "/home/me" not in card


def test_names_cannot_change_how_it_looks() -> None:
    names = ("a|b", "__c__", "<d>\n# e", "狐")
    spec = ModelSpec("fcn8s", names)
    best = {"epoch": 1, **dict.fromkeys(SCORES, 0.5), **{f"iu {name}": 0.5 for name in names}}
    config = {"model": spec.to_dict(), "arguments": {**ARGUMENTS, "data_root": None},
              "images": [1, 1]}  # fmt: skip
    card = text(config, {**best, "iu 狐": float("nan")})
    assert r"| 0 | a\|b | 0.500 |" in card
    assert r"| 1 | \_\_c\_\_ | 0.500 |" in card
    assert r"| 2 | \<d\> \# e | 0.500 |" in card
    assert "| 3 | 狐 |  |" in card
    assert "Scenes that tinyfcn draws" in card
