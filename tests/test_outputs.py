"""What a command writes costs no file of another origin, and a command that is run again replaces
what it wrote before."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from PIL import Image

from tinyfcn import cli, onnx
from tinyfcn.benchmark import report
from tinyfcn.data import read_mask, write_voc_tree
from tinyfcn.training import checkpoint
from tinyfcn.training.model_spec import ModelSpec
from tinyfcn.weights import load

SPEC = ModelSpec("fcn32s", ("background", "cat"), {"width": 1 / 64})


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    state = SPEC.build().state_dict()
    checkpoint.save("best.npz", {"model": state, "description": SPEC.to_dict()})


def photo(path: str, side: int = 8) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise((side, side), 64).convert("RGB").save(path)


def contents(folder: str = ".") -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def run(*arguments: str) -> int:
    try:
        return cli.main(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)


def predicted(images: list[str], out: str) -> set[str]:
    """The files that labelling the images made, twice over; all others are as they were."""
    before, made = contents(), []
    for _ in range(2):
        assert run("predict", "best.npz", *images, "--out", out) == 0
        after = contents()
        assert {name: after[name] for name in before} == before
        made.append({name: after[name] for name in after.keys() - before.keys()})
    assert made[0] == made[1]
    assert len(made[0]) == 2 * len(images)
    return {str(Path(name).relative_to(out)) for name in made[0]}


def both(*stems: str) -> set[str]:
    return {stem + ending for stem in stems for ending in (".png", "_overlay.png")}


@pytest.mark.parametrize(
    ("images", "out", "stems"),
    [
        (["photos/a.png"], "photos", ["a-2"]),
        (["photos/a.png", "photos/b.jpg"], "photos", ["a-2", "b"]),
        (["photos/a.png", "photos/a_overlay.png"], "photos", ["a-2", "a_overlay-2"]),
        (["a.png", "a_overlay.png"], "out", ["a", "a_overlay-2"]),
        (["a_overlay.png", "a.png"], "out", ["a_overlay", "a-2"]),
        (["a.jpg", "a.png", "b/a.bmp"], "out", ["a", "a-2", "a-3"]),
        (["a/cat.jpg", "b/Cat.jpg", "b/CAT.png"], "out", ["cat", "Cat-2", "CAT-3"]),
        (["Ka\u0308the.png", "K\xe4the.png"], "out", ["Ka\u0308the", "K\xe4the-2"]),
        (["a.png", "a-2.png", "b/a.png"], ".", ["a-3", "a-2-2", "a-4"]),
        (["n" * 250 + ".png"], "out", ["n" * 243]),
    ],
)  # fmt: skip
def test_no_image_and_no_result_is_lost(images: list[str], out: str, stems: list[str]) -> None:
    for path in images:
        photo(path)
    assert predicted(images, out) == both(*stems)


def test_links_lead_to_the_same_image() -> None:
    photo("photos/a.png")
    Path("links").mkdir()
    os.symlink("../photos/a.png", "links/a.png")
    os.link("photos/a.png", "links/b.png")
    assert predicted(["photos/a.png"], "links") == both("a-2")
    shutil.rmtree("links")
    os.symlink("photos", "links")
    assert predicted(["links/a.png"], "photos") == both("a-2")


def test_the_masks_of_a_data_set_stay(capsys: pytest.CaptureFixture[str]) -> None:
    tree = write_voc_tree("tree", train=2, val=1, size=16, diameter=(6.0, 9.0))
    image = str(tree / "JPEGImages" / "train_00001.jpg")
    assert predicted([image], "tree/SegmentationClass") == both("train_00001-2")
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.endswith("; train_00001.png or train_00001_overlay.png is taken")


def test_results_that_are_labelled_stay_and_those_of_before_are_replaced() -> None:
    photo("photos/a.png")
    assert predicted(["photos/a.png"], "out") == both("a")
    assert predicted(["out/a.png", "out/a_overlay.png"], "out") == both("a-2", "a_overlay-2")
    photo("photos/a.png", side=9)
    assert run("predict", "best.npz", "photos/a.png", "--out", "out") == 0
    assert read_mask("out/a.png").shape == (9, 9)


def test_results_go_into_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    photo("a.png")
    before = contents()
    assert run("predict", "best.npz", "a.png", "--out", "a.png") == 2
    assert capsys.readouterr().err == "error: a.png: file exists\n"
    assert contents() == before


# ---- convert ----


def converted(source: str, target: str) -> str:
    """The one file that converting, twice over, wrote."""
    for _ in range(2):
        before = {path.name: path.lstat().st_mtime_ns for path in Path().iterdir()}
        assert run("convert", source, target) == 0
        (made,) = [p.name for p in Path().iterdir() if before.get(p.name) != p.lstat().st_mtime_ns]
    return made


@pytest.mark.parametrize("ending", [".npz", ".safetensors", ".onnx"])
def test_what_convert_wrote_is_replaced_and_nothing_else(
    ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if ending == ".onnx":
        pytest.importorskip("onnx")
    target = f"out{ending}"
    assert converted("best.npz", target) == target
    Path(target).write_bytes(b"theirs")
    assert converted("best.npz", target) == f"out-2{ending}"
    said = capsys.readouterr().out
    assert f"; {target} is taken" in said and f"out-2{ending}: " in said
    os.unlink(target)
    os.mkdir(target)
    assert run("convert", "best.npz", target) == 0
    os.rmdir(target)
    os.symlink("nowhere", target)
    assert converted("best.npz", target) == f"out-2{ending}"
    assert not os.path.exists("nowhere")


def test_the_source_stays_and_so_do_checkpoints_and_files_of_programs() -> None:
    assert converted("best.npz", "best.npz") == "best-2.npz"
    os.symlink("best.npz", "link.npz")
    assert converted("best.npz", "./link.npz") == "link-2.npz"
    checkpoint.save("last.npz", {"model": {}})
    assert converted("best.npz", "last.npz") == "last-2.npz"
    assert converted("best-2.npz", "best-2.npz") == "best-2-2.npz"
    pytest.importorskip("onnx")
    onnx.export(SPEC.build(), "mine.onnx", (3, 64, 64), dynamic=False)
    assert converted("best.npz", "mine.onnx") == "mine-2.onnx"


def test_a_file_with_a_mark_is_read_like_any_other() -> None:
    assert run("convert", "best.npz", "a.npz") == 0
    assert run("convert", "a.npz", "b.safetensors") == 0
    with np.load("a.npz") as file:
        assert [*file] == [*load("b.safetensors")] == [*load("best.npz")]


# ---- benchmark ----


@pytest.mark.parametrize("theirs", ["benchmark.json", "benchmark.png"])
def test_tables_of_others_stay(theirs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(results: object, title: str, file: BinaryIO) -> None:
        file.write(f"a chart by {report.MARK}".encode())

    monkeypatch.setattr(report, "draw", draw)
    for expected in "benchmark", "benchmark-2":
        for _ in range(2):
            said = report.save(Path(), {"results": [], "machine": ""})
            assert said.startswith(f"{expected}.json holds every repetition, {expected}.png shows")
        Path(theirs).write_text("theirs")
    assert Path(theirs).read_text() == "theirs"
    assert json.loads(Path("benchmark-2.json").read_text())["results"] == []
