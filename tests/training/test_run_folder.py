"""The run folder: the log, the config, and files that are whole or not there."""

from __future__ import annotations

import json
import math
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tinyfcn.files import atomic_write
from tinyfcn.metrics import scores
from tinyfcn.training import run_folder
from tinyfcn.training.evaluation import Evaluation
from tinyfcn.training.model_spec import ModelSpec
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


ROWS = [row(1), row(2)]


def written(tmp_path: Path) -> tuple[RunFolder, bytes]:
    run = RunFolder(tmp_path)
    run.write_log(ROWS)
    return run, run.log.read_bytes()


# What has become of the log that the two rows made.
HANDS = {
    "byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "semicolons": lambda data: data.replace(b",", b";"),
    "UTF-16": lambda data: data.decode().encode("utf-16"),
    "other line ends": lambda data: data.replace(b"\r\n", b"\n"),
    "a number rounded": lambda data: data.replace(b"0.14285714285714285", b"0.143"),
    "a column more": lambda data: data.replace(b"iu dog", b"iu dog,notes"),
    "half garbage": lambda data: data[: len(data) // 2] + b"\0\xff" * 90,
    "another file": lambda data: b"epoch,loss\n1,2\n",
}


@pytest.mark.parametrize("hand", HANDS)
def test_a_log_that_another_hand_changed_is_kept_under_another_name(
    tmp_path: Path, hand: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run, data = written(tmp_path)
    changed = HANDS[hand](data)
    for name in ("log-2.csv", "log-3.csv"):
        run.log.write_bytes(changed)
        run.claim_log(ROWS)
        assert f"kept as {name}" in capsys.readouterr().err
        run.write_log(ROWS)
    assert run.log.read_bytes() == data
    assert (tmp_path / "log-2.csv").read_bytes() == changed
    assert run.read_log()[1]["iteration"] == 20


@pytest.mark.parametrize("kind", ["folder", "pipe", "dangling link"])
def test_what_is_no_file_at_all_is_set_aside(tmp_path: Path, kind: str) -> None:
    run = RunFolder(tmp_path)
    if kind == "folder":
        (run.log / "inside").mkdir(parents=True)
    elif kind == "pipe":
        os.mkfifo(run.log)
    else:
        run.log.symlink_to("nowhere")
    run.claim_log(ROWS)
    assert sorted(os.listdir(tmp_path)) == ["log-2.csv"]


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0, 1.7])
def test_a_log_that_is_behind_or_ahead_of_the_checkpoint_is_ours(
    tmp_path: Path, share: float
) -> None:
    run, data = written(tmp_path)
    run.log.write_bytes((data + data[len(data) // 2 :])[: int(share * len(data))])
    run.claim_log(ROWS)
    assert os.listdir(tmp_path) == ["log.csv"]
    run.claim_log([])
    assert os.listdir(tmp_path) == ["log.csv"]


def test_a_checkpoint_without_rows_leaves_the_log_that_is_there(tmp_path: Path) -> None:
    run, data = written(tmp_path)
    run.claim_log(None)
    assert (tmp_path / "log-2.csv").read_bytes() == data


def test_leftovers_of_dead_runs_are_removed_and_nothing_else(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    ours = [
        ".report.html.8.tmp",
        ".README.md.8.tmp",
        ".last.npz.77.tmp",
        ".best.npz.1.tmp",
        ".log.csv.4194304.tmp",
        ".curves.png.9.tmp",
    ]
    others = [".photo.png.77.tmp", "last.npz.77.tmp", ".last.npz", "notes.tmp", ".last.npz.7.txt"]
    for name in (*ours, *others):
        (tmp_path / name).write_text("")
    (tmp_path / ".scenes.abcd.tmp" / "new").mkdir(parents=True)
    with run.alone():
        assert sorted(os.listdir(tmp_path)) == sorted([*others, "run.lock"])


def git(folder: Path, *command: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(
        ["git", *identity, *command], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize("change", ["nothing", "a date", "a letter", "a new file", "the index"])
def test_the_commit_is_read_and_nothing_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    source = tmp_path / "source.py"
    source.write_text("a")
    monkeypatch.setattr(run_folder, "__file__", str(source))
    assert run_folder._commit() is None
    git(tmp_path, "init")
    assert run_folder._commit() is None
    git(tmp_path, "add", "source.py")
    git(tmp_path, "commit", "-m", "first")
    if change == "a date":
        os.utime(source, (1, 1))
    elif change == "a letter":
        source.write_text("b")
    elif change == "a new file":
        (tmp_path / "new.py").write_text("b")
    elif change == "the index":
        source.write_text("b")
        git(tmp_path, "add", "source.py")
    head = git(tmp_path, "rev-parse", "HEAD")
    dirty = "-dirty" * (change in ("a letter", "the index"))
    before = everything_in(tmp_path)
    assert run_folder._commit() == head + dirty
    assert everything_in(tmp_path) == before


def everything_in(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder, with when it was changed: a folder is when a lock comes and goes."""
    return {
        str(path): (path.stat().st_mtime_ns, path.stat().st_ino)
        for path in (folder, *folder.rglob("*"))
    }


# ---- pages ----

PAGE_ROWS = [row(1), row(2)]


def found(images: int = 2) -> Evaluation:
    rng = np.random.default_rng(0)
    triple = (
        rng.integers(0, 256, (20, 30, 3)).astype("u1"),
        rng.integers(0, 3, (20, 30)).astype("u1"),
        rng.integers(0, 3, (20, 30)).astype("u1"),
    )
    names = [f"picture {i}" for i in range(images)]
    return Evaluation(
        scores(np.diag([5, 3, 2])), dict.fromkeys(names, [0.5] * 5), [triple],
        dict.fromkeys(names, triple),
    )  # fmt: skip


CLASSES = ["background", "cat, black", "dog"]


def test_the_page_keeps_what_was_found_in_the_best_epoch(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_report(PAGE_ROWS[:1], CLASSES, found())
    first = run.report.read_text()
    assert "mean IU 0.143 in epoch 1" in first and first.count("<img") == 2 + 1 + 2 * 4
    rows = [row(1), row(2) | {"mean_iu": 0.1}]  # worse, as after --resume: nothing is found
    run.write_report(rows, CLASSES, None)
    assert "in epoch 1" in run.report.read_text() and run.report.read_text().count("<img") == 11
    run.write_report(PAGE_ROWS, CLASSES, None)  # the best epoch is another
    assert "in epoch 2" in run.report.read_text() and run.report.read_text().count("<img") == 2
    assert "lost in a kill; <code>tinyfcn evaluate" in run.report.read_text()


@pytest.mark.parametrize("change", ["a line more", "theirs", "a folder", "a pipe", "a dead link"])
@pytest.mark.parametrize("name", ["report.html", "README.md"])
def test_a_page_of_another_hand_stays(tmp_path: Path, name: str, change: str) -> None:
    run, path = RunFolder(tmp_path), tmp_path / name
    spec = ModelSpec("fcn8s", tuple(CLASSES)).to_dict()
    arguments = {"data_root": "data", "train_split": "train", "val_split": "val"}
    run.write_config(arguments, model=spec, images=[3, 2])

    def write() -> None:
        run.write_report(ROWS, CLASSES, None)
        run.write_card(ROWS)

    for _ in range(2):  # what is ours is written anew
        write()
    text = path.read_text()
    path.unlink()
    if change == "a folder":
        path.mkdir()
    elif change == "a pipe":
        os.mkfifo(path)
    elif change == "a dead link":
        path.symlink_to("nowhere")
    else:
        path.write_text(text + "mine\n" if change == "a line more" else "mine")

    def there() -> tuple[int, ...]:  # reading changes the time of access alone
        found = os.lstat(path)
        return found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns

    before = there()
    with pytest.raises(OSError, match=f"{name}.*stays|stays.*{name}"):
        write()
    assert there() == before and not (tmp_path / "nowhere").exists()
