"""tinyfcn evaluate --out: its files, against scores that are counted here."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest

from tinyfcn import cli
from tinyfcn.data import VOCSegmentation, write_voc_tree
from tinyfcn.training import checkpoint
from tinyfcn.training.evaluation import predict
from tinyfcn.training.model_spec import ModelSpec
from tinyfcn.training.published import load_model

FILES = {"scores.json", "images.csv", "confusion.csv", "confusion.png", "report.html"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set of five images to score on, and a network that was not trained."""
    monkeypatch.chdir(tmp_path)
    write_voc_tree("data", train=1, val=5, size=32, diameter=(10.0, 20.0))
    spec = ModelSpec("fcn32s", VOCSegmentation("data", "val").classes, {"width": 1 / 64})
    state = spec.build().state_dict()
    rng = np.random.default_rng(0)
    for value in state.values():  # scores begin at zero
        value[...] = rng.normal(0, 0.1, value.shape)
    saved = {"model": "fcn32s", "width": 1 / 64, "batch_norm": False, "data_root": "data"}
    checkpoint.save("best.npz", {"model": state, "description": spec.to_dict(), "arguments": saved})


def run(*arguments: str) -> int:
    try:
        return cli.main(["evaluate", "best.npz", *arguments])
    except SystemExit as stop:
        return int(stop.code or 0)


def table(path: str) -> list[list[str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return [*csv.reader(file)]


def test_the_files_say_what_is_counted_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--out", "a/b") == 0
    assert {*os.listdir("a/b")} == FILES
    said = capsys.readouterr().out.splitlines()
    assert said[-2].startswith("a/b: scores.json, images.csv") and said[-1].startswith("mean IU ")

    model, spec = load_model("best.npz")
    count = len(spec.classes)
    matrix = np.zeros((count, count), int)
    rows = table("a/b/images.csv")[1:]
    data = VOCSegmentation("data", "val")
    assert [row[0] for row in rows] == [*data.ids]
    for sample, row in zip(data, rows, strict=True):
        said_here = predict(model, [sample.image], spec.preprocessing)[0]
        kept = sample.mask != 255
        np.add.at(matrix, (sample.mask[kept], said_here[kept]), 1)
        assert float(row[1]) == pytest.approx((sample.mask == said_here)[kept].mean())
        for c, cell in enumerate(row[3:]):
            true, found = kept & (sample.mask == c), kept & (said_here == c)
            union = (true | found).sum()
            assert cell == "" if not union else float(cell) == pytest.approx(
                (true & found).sum() / union
            )  # fmt: skip
    cells = [[int(cell) for cell in row[1:]] for row in table("a/b/confusion.csv")[1:]]
    assert cells == matrix.tolist()
    read = json.loads(Path("a/b/scores.json").read_text())
    assert read["pixel_accuracy"] == matrix.trace() / matrix.sum()
    assert f"mean IU {read['mean_iu']:.3f} of best.npz on 5 images" == said[-1]
    assert read["list"] == "val" and read["images"] == 5
    page = Path("a/b/report.html").read_text()
    assert all(name in page for name in data.ids)


def test_any_list() -> None:
    assert run("--val-split", "train", "--out", "a") == 0
    assert len(table("a/images.csv")) == 2


def test_what_it_wrote_is_replaced_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--out", "a") == 0
    first = {name: Path("a", name).read_bytes() for name in FILES}
    assert run("--out", "a") == 0
    assert {name: Path("a", name).read_bytes() for name in os.listdir("a")} == first
    for name in FILES:
        Path("a", name).write_text("theirs")
    capsys.readouterr()
    assert run("--out", "a") == 0
    assert all(Path("a", name).read_text() == "theirs" for name in FILES)

    for name, data in first.items():
        assert Path("a", f"{Path(name).stem}-2{Path(name).suffix}").read_bytes() == data
    assert len(os.listdir("a")) == 2 * len(FILES)
    assert "report-2.html; report.html is taken" in capsys.readouterr().out


def test_a_file_where_the_folder_should_be() -> None:
    Path("a").write_text("theirs")
    assert run("--out", "a") == 2
    assert Path("a").read_text() == "theirs"
