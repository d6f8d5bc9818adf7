"""The run folder: the log, the config, and files that are whole or not there."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from tinyfcn.files import atomic_write
from tinyfcn.training.run_folder import RunFolder

COLUMNS = (
    "epoch", "iteration", "seconds", "train_loss", "pixel_accuracy", "mean_accuracy", "mean_iu",
    "fw_iu", "iu background", "iu cat, black", "iu dog",
)  # fmt: skip


def row(epoch: int) -> dict[str, float]:
    values = {"epoch": epoch, "iteration": 10 * epoch, "iu cat, black": math.nan, "iu dog": 1.0}
    return {name: epoch / 7 for name in COLUMNS} | values


def test_log_comes_back_exactly(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "a" / "b")
    assert run.read_log() == []
    run.write_log([row(1), row(2)])
    lines = run.log.read_text().splitlines()
    assert lines[0].startswith(
        "epoch,iteration,seconds,train_loss,pixel_accuracy,mean_accuracy,mean_iu,fw_iu,"
    )
    assert len(lines) == 3
    rows = run.read_log()
    assert math.isnan(rows[0].pop("iu cat, black"))
    expected = row(1)
    del expected["iu cat, black"]
    assert rows[0] == expected
    run.write_log(run.read_log())
    assert run.log.read_text().splitlines() == lines


def test_config_tells_what_ran(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_config({"lr": 1e-10, "out": tmp_path}, parameters=7)
    config = json.loads(run.config.read_text())
    assert config["arguments"] == {"lr": 1e-10, "out": str(tmp_path)}
    assert config["parameters"] == 7
    assert config["environment"]["numpy"] == np.__version__
    assert {"tinyfcn", "python", "platform", "commit", "command"} <= set(config["environment"])


def test_a_folder_that_cannot_be_made_or_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        RunFolder(tmp_path / "file" / "run")
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(PermissionError):
        RunFolder(tmp_path / "closed")


def test_making_one_leaves_nothing_behind(tmp_path: Path) -> None:
    RunFolder(tmp_path)
    assert os.listdir(tmp_path) == []


def test_atomic_write_keeps_the_old_file_if_the_block_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as file:
        file.write(b"half of the ne")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]
    with atomic_write(path) as file:
        file.write(b"new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]
