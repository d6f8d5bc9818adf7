"""Options of a training that change what it sees: --augment and --resize."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinyfcn.cli.network import spec_of
from tinyfcn.cli.train_options import parse_options, saved_options
from tinyfcn.data import CAFFE, TORCHVISION
from tinyfcn.training import checkpoint


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("--augment rotat", "--augment: expected none, or some of rotate=15 (to 180), elastic=5 "),
        ("--augment turns,blur=x", ", noise=0.05 (to 1), got 'turns,blur=x'"),
        ("--resize big", "--resize: expected a longest side or HxW, as 512 or 480x640, got 'big'"),
        ("--resize 0", "got '0'"),
        ("--resize 4x5x6", "got '4x5x6'"),
        ("--resize -4x5", "--resize"),
        ("--resize 100000", "got '100000'"),
    ],
)
def test_what_cannot_be_meant(command: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_options(command.split())
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1


def test_the_size_is_part_of_the_preprocessing() -> None:
    classes = ("a", "b")
    for command, size in (("", ()), ("--resize 512", (512,)), ("--resize 480x640", (480, 640))):
        for more, own in (("", TORCHVISION), (" --preprocessing caffe", CAFFE)):
            seen = spec_of(parse_options((command + more).split()), classes).preprocessing
            assert seen.resize == size
            assert (seen.mean, seen.scale) == (own.mean, own.scale)


def test_a_checkpoint_keeps_them(capsys: pytest.CaptureFixture[str]) -> None:
    options = parse_options(["--resize", "48x64", "--augment", "turns,rotate=9"])
    spec = spec_of(options, ("a", "b"))
    arrays = {"model": spec.build().state_dict()}
    state = {"description": spec.to_dict(), "arguments": saved_options(options), **arrays}
    Path("run").mkdir()
    checkpoint.save(Path("run/last.npz"), state)
    again = parse_options(["--resume", "run/last.npz"])
    assert (again.resize, again.augment) == ("48x64", "turns,rotate=9")
    assert spec_of(again, ("a", "b")) == spec
    # Another training that begins with these weights says itself what it sees.
    other = parse_options(["--init-from", "run/last.npz"])
    assert spec_of(other, ("a", "b")).preprocessing == TORCHVISION
    assert capsys.readouterr().out == ""
    changed = parse_options(["--resume", "run/last.npz", "--augment", "none"])
    assert changed.augment == "none"
