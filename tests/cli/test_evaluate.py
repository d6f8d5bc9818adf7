"""tinyfcn evaluate --out: its files, against scores that are counted here."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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


def photos(names: str, values: tuple[int, ...] = (0, 3)) -> None:
    """A folder with pictures and masks, and nothing else, with classes that do not say which."""
    mask = np.kron(np.resize(values, (2, 2)), np.ones((16, 16), int)).astype(np.uint8)
    for name in names:
        for kind, pixels in (("images", np.repeat(mask[..., None], 3, 2) * 20), ("masks", mask)):
            path = Path("photos", kind, f"{name}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)


def test_any_list_or_folder(capsys: pytest.CaptureFixture[str]) -> None:
    """Its name, its path, another folder of that list or of none; the first line says which."""
    photos("abcd")
    Path("some.txt").write_text("val_00003\nval_00001.jpg\n")
    Path("photos/part.txt").write_text("d\na\n")
    for arguments, which, ids in (
        ("--val-split train", "list train in data", "train_00000"),
        ("some.txt", "list some.txt in data", "val_00003 val_00001"),
        ("data", "list val in data", "val_00000 val_00001 val_00002 val_00003 val_00004"),
        ("photos --val-split part", "list part in photos", "d a"),
    ):
        assert run(*arguments.split(), "--out", "a") == 0
        found = [row[0] for row in table("a/images.csv")[1:]]
        said = capsys.readouterr().out.splitlines()[0]
        assert said == f"images: {len(found)}, those of the {which}"
        assert found == ids.split()
    assert run("photos") == 2
    assert "(lists there: part.txt" in capsys.readouterr().err
    os.unlink("photos/part.txt")
    assert run("photos") == 0
    said = capsys.readouterr().out
    assert said.startswith("images: 4, all in photos\nnote: there is nothing of ")
    assert run("photos", "--data-root", "data") == 2
    photos("abcd", (0, 255))
    assert run("photos") == 0
    assert "note: the masks in photos/masks hold 0 and 255" in capsys.readouterr().out
    two = ModelSpec("same_resolution", ("background", "cell"), {"width": 0.02, "batch_norm": True})
    about = {"model": two.model, "width": 0.02, "data_root": "data"}
    checkpoint.save("best.npz", {
        "model": two.build().state_dict(), "description": two.to_dict(), "arguments": about,
    })  # fmt: skip
    assert run("photos") == 0  # whose masks name nothing: the names are the checkpoint's
    assert "which are taken as background and cell" in capsys.readouterr().out


def test_of_a_folder_without_lists_it_is_what_was_held_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos("abcd")
    state = checkpoint.load("best.npz")
    state["arguments"]["data_root"] = "photos"
    checkpoint.save("best.npz", state)
    Path("val.txt").write_text("b\n")
    for arguments in ([], ["./photos"]):
        assert run(*arguments) == 0
        assert "images: 1, those of the list val.txt in " in capsys.readouterr().out


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
