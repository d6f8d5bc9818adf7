"""When a run saves: often enough to lose little, seldom enough to cost little."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from tinyfcn.training import checkpoint, saver
from tinyfcn.training.run_folder import RunFolder
from tinyfcn.training.saver import Saver


# Seconds that an epoch takes, and a save.
@pytest.mark.parametrize(
    ("epoch", "cost"), [(17.0, 0.1), (1.0, 0.1), (0.2, 0.001), (600.0, 20.0), (30.0, 2.0)]
)
def test_saves_take_two_percent_of_the_time_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: float, cost: float
) -> None:
    now, spent, saved = 0.0, 0.0, [0.0]

    def save(path: Path, state: Any, *previous: Path) -> None:
        nonlocal now, spent
        now, spent = now + cost, spent + cost
        if path.name == "last.npz":
            saved.append(now)

    monkeypatch.setattr(saver.time, "monotonic", lambda: now)
    monkeypatch.setattr(checkpoint, "save", save)
    keeper = Saver(RunFolder(tmp_path))
    while now < 200 * max(epoch, 50 * cost):
        for _ in range(10):  # steps
            now += epoch / 10
            if keeper.due(180.0):
                keeper.save({})
        keeper.best = {}
        if keeper.due(0.0):
            keeper.save({})
    assert spent <= 0.021 * now
    longest = max(after - before for before, after in itertools.pairwise(saved))
    assert longest <= max(180 + epoch / 5, epoch, 100 * cost + epoch) + 2 * cost


def test_the_best_is_written_before_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper, order = Saver(RunFolder(tmp_path)), []
    save = checkpoint.save

    def noted(path: Path, *arguments: Any) -> None:
        order.append(path.name)
        save(path, *arguments)

    monkeypatch.setattr(checkpoint, "save", noted)
    keeper.best = {"iteration": 1}
    keeper.save({"iteration": 2})
    keeper.save({"iteration": 3})
    assert order == ["best.npz", "last.npz", "last.npz"]


def test_where_the_best_cannot_be_written_the_last_is(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    keeper = Saver(folder)
    keeper.best = {"iteration": 1}
    folder.best.mkdir()
    with pytest.raises(checkpoint.CheckpointError, match=r"best\.npz"):
        keeper.save({"iteration": 2})
    assert checkpoint.load(folder.last) == {"iteration": 2}
    folder.best.rmdir()
    keeper.save({"iteration": 3})
    assert checkpoint.load(folder.best) == {"iteration": 1}


def test_a_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.path.rmdir()
    Saver(folder).save({"iteration": 1})
    assert checkpoint.load(folder.last) == {"iteration": 1}
