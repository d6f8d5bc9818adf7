"""Prediction for real work: what is labelled, what is skipped, and what is left behind."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tinyfcn
from tinyfcn import cli
from tinyfcn.cli.pictures import find_pictures
from tinyfcn.training import checkpoint
from tinyfcn.training.model_spec import ModelSpec
from tinyfcn.training.screen import Screen

SPEC = ModelSpec("fcn32s", ("background", "cat"), {"width": 1 / 64})


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    state = SPEC.build().state_dict()
    state["score_fr.weight"][...] = np.random.default_rng(0).normal(size=(2, 64, 1, 1))
    checkpoint.save("best.npz", {"model": state, "description": SPEC.to_dict()})


def photo(path: str, side: int = 8) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise((side, side), 64).convert("RGB").save(path)


def run(*arguments: str) -> int:
    try:
        return cli.main(["predict", "best.npz", *arguments])
    except SystemExit as stop:
        return int(stop.code or 0)


def masks(folder: str = "predictions") -> set[str]:
    paths = Path(folder).rglob("*.png")
    return {str(p.relative_to(folder))[:-4] for p in paths if not p.stem.endswith("_overlay")}


def named(*names: str) -> list[str]:
    return [str(path) for path, _ in find_pictures(names, "tinyfcn predict")]


def test_a_folder_with_its_sub_folders() -> None:
    for path in ("in/b.jpg", "in/a.PNG", "in/x/a.png", "in/.hidden/c.png", "in/.d.png"):
        photo(path)
    Path("in/notes.txt").write_text("no picture")
    Path("run").mkdir()
    Path("best.npz").rename("run/best.npz")
    assert cli.main(["predict", "run", "in"]) == 0  # the best of a run's folder
    assert tinyfcn.Segmenter("run").spec == SPEC
    assert masks() == {"a", "b", "x/a"}


def test_results_beside_the_pictures_are_no_pictures() -> None:
    photo("in/a.png")
    photo("in/x/b.jpg")
    for _ in range(2):
        assert run("in", "--out", "in") == 0
        assert masks("in") == {"a", "a-2", "x/b"}


def test_lists_and_patterns() -> None:
    for path in ("in/1.png", "in/2.png", "in/x/3.png", "in/ä [1].png"):
        photo(path)
    Path("in/list.txt").write_bytes("\ufeff1.png\r\n\r\nx/3.png\r\nin/2.png\nnone.png\n".encode())
    expected = ["in/1.png", "in/x/3.png", "in/2.png", "none.png"]
    assert named("in/list.txt") == named("@in/list.txt") == expected
    assert named("in/*.png") == ["in/1.png", "in/2.png", "in/ä [1].png"]
    assert named("in/**/*.png") == ["in/1.png", "in/2.png", "in/x/3.png", "in/ä [1].png"]
    assert named("in/ä [1].png") == ["in/ä [1].png"]
    assert run("@in/list.txt") == 2
    assert masks() == {"1", "2", "3"}


@pytest.mark.parametrize("name", ["empty", "none*.png", "empty.txt"])
def test_where_there_is_no_picture_it_says_so(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty").mkdir()
    Path("empty.txt").touch()
    assert run(name) == 2
    said = capsys.readouterr().err
    assert said == f"error: {name}: expected pictures (.jpg, .jpeg, .png, .bmp, .tif, .tiff, " \
        ".webp, .gif), found none\n"  # fmt: skip
    assert not Path("predictions").exists()


def test_one_bad_file_is_named_and_the_rest_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(4):
        photo(f"in/{number}.png")
    Path("in/1.png").write_bytes(Path("in/1.png").read_bytes()[:90])
    os.mkdir("in/4.png")
    assert run("in") == 2
    said = capsys.readouterr()
    assert masks() == {"0", "2", "3"}
    assert "error: in/1.png: " in said.err
    assert "2 of 5 images could not be read" in said.err


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_bar_is_for_terminals(
    is_terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        photo(f"in/{number}.png")
    monkeypatch.setattr(Screen, "isatty", lambda self: is_terminal, raising=False)
    assert run("in") == 0
    said = capsys.readouterr()
    assert (" left" in said.err and "prediction " in said.err) == is_terminal
    assert [line.split(" (")[0] for line in said.out.splitlines()[1:]] == [
        "in/0.png", "in/1.png", "in/2.png",
    ]  # fmt: skip


def test_what_is_done_is_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    for path in ("in/a.png", "in/x/a.png", "b/a.jpg"):
        photo(path)

    def again(*more: str) -> list[str]:
        """The pictures that were labelled."""
        capsys.readouterr()
        assert run("in", "b", "--resume", *more) == 0
        lines = capsys.readouterr().out.splitlines()
        return [line.split(" (")[0] for line in lines if " x " in line]

    assert again() == ["in/a.png", "in/x/a.png", "b/a.jpg"]
    before = {path: path.stat().st_mtime_ns for path in Path("predictions").rglob("*.png")}
    assert again() == []
    assert before == {path: path.stat().st_mtime_ns for path in Path("predictions").rglob("*.png")}
    os.unlink("predictions/x/a_overlay.png")
    assert again() == ["in/x/a.png"]
    photo("b/a.jpg", 9)
    assert again() == ["b/a.jpg"]
    assert len(again("--flip")) == 3 and again("--flip") == []
    os.utime("best.npz", (1, 1))
    assert len(again("--flip")) == 3


def test_probabilities_are_written() -> None:
    photo("a.png", 12)
    for _ in range(2):
        assert run("a.png", "--probabilities", "--flip", "--scales", "0.5,1") == 0
    with np.load("predictions/a_probabilities.npz") as file:
        likely = file["probabilities"]
        assert (likely.dtype, likely.shape) == (np.float16, (2, 12, 12))
        assert file["classes"].tolist() == ["background", "cat"]
    assert len([*Path("predictions").iterdir()]) == 3


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--scales", "1,0", "sizes from 0.1 to 10, such as 0.75,1,1.25, got '1,0'"),
        ("--scales", "x", "sizes from 0.1 to 10"),
        ("--max-memory", "0", "a number between 0.001 and 1e+06, got '0'"),
    ],
)
def test_options_are_checked(
    option: str, value: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    photo("a.png")
    assert run("a.png", option, value) == 2
    assert said in capsys.readouterr().err


def test_a_large_picture_is_labelled_in_tiles(capsys: pytest.CaptureFixture[str]) -> None:
    Image.effect_noise((1400, 60), 64).convert("RGB").save("a.png")
    assert run("a.png") == 0
    whole = Path("predictions/a.png").read_bytes()
    assert run("a.png", "--max-memory", "0.001") == 0
    assert " tiles: " in capsys.readouterr().out
    assert Path("predictions/a.png").read_bytes() == whole
