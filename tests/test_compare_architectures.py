"""examples/compare_architectures.py: networks trained alike, their table and their picture."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tinyfcn import data
from tinyfcn.training.run_folder import RunFolder

ROOT = Path(__file__).resolve().parents[1]
COMPARE = ROOT / "examples" / "compare_architectures.py"

Said = tuple[int, str, str]


def test_networks_are_compared(
    tmp_path: Path, call: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # each network is trained in a process of its own
    tree = data.write_voc_tree(tmp_path / "scenes", train=8, val=4, size=48, diameter=(16.0, 30.0))
    command = [COMPARE, "--data-root", tree, "--out", tmp_path, "--only", "fcn32s,fcn8s"]
    command += ["--epochs", 1, "--width", 0.015625, "--batch-size", 4, "--warmup", 0]
    status, said, _ = call(*command)
    assert status == 0
    rows = list(csv.DictReader((tmp_path / "architectures.csv").read_text().splitlines()))
    assert [row["network"] for row in rows] == ["FCN-32s", "FCN-8s"]
    for name, row in zip(("fcn32s", "fcn8s"), rows, strict=True):
        best = RunFolder(tmp_path / name).read_log()[-1]["mean_iu"]
        assert row["mean IU"] == f"{best:.3f}"
        assert row["mean IU"] in said
    lines = (tmp_path / "architectures.md").read_text().splitlines()
    assert len(lines) == 4 and len({line.count("|") for line in lines}) == 1
    with Image.open(tmp_path / "architectures.png") as picture:
        assert picture.width > 4 * 48  # image, truth and two answers
    saved = (tmp_path / "fcn8s" / "last.npz").read_bytes()
    made = {path.name for path in tmp_path.iterdir()}
    assert call(*command)[0] == 0  # nothing is trained again
    assert (tmp_path / "fcn8s" / "last.npz").read_bytes() == saved
    assert {path.name for path in tmp_path.iterdir()} == made
    (tmp_path / "architectures.md").write_text("a note of the user's")
    status, said, _ = call(*command)
    assert status == 0 and "architectures.md or architectures.png is taken" in said
    assert (tmp_path / "architectures.md").read_text() == "a note of the user's"
    assert {path.name for path in tmp_path.iterdir()} - made == {
        f"architectures-2.{ending}" for ending in ("csv", "md", "png")
    }
    status, _, complaint = call(*command, "--only", "fcn4s")
    assert (status, "fcn4s" in complaint) == (2, True)
    status, _, complaint = call(*command, "--scenes", 4)
    assert (status, "--scenes" in complaint) == (2, True)


@pytest.mark.parametrize(
    ("config", "resumed"),
    [
        ('"data_root": "mine"', True),
        ('"data_root": null', False),
        ('"data_root": "mine too"', False),
        ('"out": "mine"', False),
        ("", False),
    ],
)
def test_only_a_run_on_the_same_data_is_gone_on_with(
    config: str, resumed: bool, tmp_path: Path, call: Callable[..., Said],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    commands: list[list[str]] = []

    def failing(command: list[str]) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 7)

    monkeypatch.setattr(subprocess, "run", failing)
    run = RunFolder(tmp_path / "fcn32s")
    run.last.write_text("learnt for weeks")
    run.config.write_text(f'{{"arguments": {{{config}}}}}')
    assert call(COMPARE, "--data-root", "mine", "--out", tmp_path, "--only", "fcn32s")[0] == 7
    assert ["--resume" in command for command in commands] == [resumed]


def test_networks_are_compared_on_as_many_scenes_as_asked_for(
    tmp_path: Path, call: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    def stop(root: Path, train: int, **more: object) -> None:
        drawn.append(train)
        raise KeyboardInterrupt

    monkeypatch.setattr(data, "write_voc_tree", stop)
    for arguments in ([], ["--scenes", 40]):
        command = [COMPARE, "--out", tmp_path, *arguments]
        assert call(*command)[0] == 130
    assert drawn == [1500, 40]
