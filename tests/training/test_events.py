"""Event files: what TensorBoard will read, each value once."""

from __future__ import annotations

import math
import struct
import sys
from pathlib import Path
from typing import Any

import pytest

from tinyfcn import cli
from tinyfcn.data import write_voc_tree
from tinyfcn.training.events import write_events
from tinyfcn.training.run_folder import RunFolder

Values = list[tuple[int, str, float]]


@pytest.fixture
def event() -> Any:
    return pytest.importorskip("tensorboardX.proto.event_pb2").Event


def read(path: Path, event: Any) -> Values:
    """Records are a length of 8 bytes, 4 of checksum, the event, 4 of checksum."""
    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        one = event.FromString(data[12 : 12 + length])
        found += [(one.step, value.tag, value.simple_value) for value in one.summary.value]
        data = data[16 + length :]
    return found


def test_each_value_is_written_once(tmp_path: Path, event: Any) -> None:
    rows = [
        {"epoch": i, "iteration": 9, "seconds": 1.0, "mean_iu": i / 8, "iu cat": math.nan}
        for i in (1, 2, 3)
    ]
    rows[1]["iu cat"] = 0.5
    path = tmp_path / "events"
    began = b""
    for number in (1, 1, 3, 3):
        write_events(path, rows[:number])
        # Who reads on finds each record where it looks for it.
        assert path.stat().st_size >= len(began)
        began = path.read_bytes()
    wanted = [
        (1, "mean_iu", 0.125),
        (2, "iu/cat", 0.5),
        (2, "mean_iu", 0.25),
        (3, "mean_iu", 0.375),
    ]
    assert sorted(read(path, event)) == wanted


def test_a_run_writes_them_where_that_is_asked_for(tmp_path: Path, event: Any) -> None:
    tree = write_voc_tree(tmp_path / "data", train=4, val=2, size=32, diameter=(10.0, 20.0))
    command = f"train {tree} --width 0.015625 --batch-size 4 --epochs 2 --tensorboard --out".split()
    assert cli.main([*command, str(tmp_path / "run")]) == 0
    (path,) = (tmp_path / "run").glob("*tfevents*")
    rows = RunFolder(tmp_path / "run").read_log()
    found = {(step, tag): value for step, tag, value in read(path, event)}
    for row in rows:
        assert found[int(row["epoch"]), "mean_iu"] == pytest.approx(row["mean_iu"])
        assert found[int(row["epoch"]), "train_loss"] == pytest.approx(row["train_loss"])


def test_without_the_extra_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX.record_writer", None)
    run = RunFolder(tmp_path)
    run.tensorboard = True
    rows = [{"epoch": 1.0, "seconds": 1.0, "mean_iu": 0.5}]
    with pytest.raises(ImportError, match=r"pip install tinyfcn\[tensorboard\]"):
        run.records(rows, [], None)["TensorBoard"]()
