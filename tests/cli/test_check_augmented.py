"""tinyfcn check --augmented: a picture of what the first epochs would see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinyfcn import cli
from tinyfcn.data import write_voc_tree


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_voc_tree("scenes", train=3, val=1, size=48, diameter=(16.0, 30.0))


def test_a_picture_of_the_first_epochs(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["check", str(tree), "--crop", "32", "--augmented"]
    seen = []
    for options in ([], ["--augment", "rotate=90,noise"], ["--seed", "1"], []):
        cli.main([*command, *options])
        assert capsys.readouterr().out.endswith("augmented images: augmented.png\n")
        seen.append(np.asarray(Image.open("augmented.png")).copy())
    # Its own file is replaced; the same options draw the same.
    np.testing.assert_array_equal(seen[0], seen[3])
    # What no epoch has changed is the left column, and the same in all.
    wide = 8 + 192
    assert all((one[:230, :wide] == seen[0][:230, :wide]).all() for one in seen[1:])
    assert len({one[:230].tobytes() for one in seen}) == 3


def test_another_file_of_that_name_stays(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("my.png").write_bytes(b"mine")
    cli.main(["check", str(tree), "--augmented", "my.png"])
    assert capsys.readouterr().out.endswith("augmented images: my-2.png; my.png is taken\n")
    assert Path("my.png").read_bytes() == b"mine"
    cli.main(["check", str(tree), "--augmented", "new/folder/of.jpg"])
    assert Path("new/folder/of.png").read_bytes().startswith(b"\x89PNG")
