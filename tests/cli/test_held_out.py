"""A folder without lists: what is held out by a training, its evaluation scores again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinyfcn import cli


def test_a_training_without_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"{folder}/{number}" for folder in "ab" for number in range(3)]
    for part in ("images", "labels"):
        for number, name in enumerate(names):
            path = tmp_path / "data" / part / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((8, 8), number % 2, np.uint8)).save(path)
    run = tmp_path / "run"
    arguments = f"train --model same_resolution --width 0.05 --iterations 1 --out {run} --workers 0"
    data = ["--data-root", str(tmp_path / "data"), "--classes", "no,yes", "--val-share", "0.6"]
    assert not cli.main([*arguments.split(), *data, "--group-by", "folder"])
    assert "images: 3 to train on, 3 to score on" in capsys.readouterr().out
    lists = [(run / name).read_text().split() for name in ("train.txt", "val.txt")]
    assert sorted(lists) == [names[:3], names[3:]]
    assert not cli.main(["evaluate", str(run / "best.npz")])
    assert "best.npz on 3 images" in capsys.readouterr().out
    (run / "val.txt").unlink()
    for asked, name in ((["--val-split", "nothing"], "nothing.txt"), ([], "data/val.txt")):
        with pytest.raises(SystemExit):
            cli.main(["evaluate", str(run / "best.npz"), *asked])
        assert f"{name}: there is no such list" in capsys.readouterr().err
