"""What can be said of the values in masks, and what of it a checkpoint keeps."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from tinyfcn.cli.class_options import byte, mask_values
from tinyfcn.cli.errors import UsageError
from tinyfcn.cli.train_options import parse_options, saved_options
from tinyfcn.training import checkpoint


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "content", "values"),
    [
        ("7:road, 8: side walk,", "", "7:road,8:side walk"),
        ("0:道路,255:Äcker: nass", "", "0:道路,255:Äcker: nass"),
        ("a.json", '{"7": "road", " 8": "path"}', "7:road,8:path"),
        ("a.json", '\ufeff{"car": 26, "vehicle": [27, 28]}', "26:car,27:vehicle,28:vehicle"),
    ],
)
def test_a_mapping_and_a_file_of_one(text: str, content: str, values: str) -> None:
    Path("a.json").write_text(content)
    assert mask_values(text) == mask_values(mask_values(text)) == values


@pytest.mark.parametrize(
    ("text", "content", "why"),
    [
        ("road,path", "", "invalid literal"),
        ("7:", "", "not empty"),
        ("", "", "1 to 255 class names, got 0"),
        ("0:void", "", "1 to 255 class names, got 0"),
        ("7:a,7:b", "", "twice"),
        ("7:a;8:b", "", "semicolon"),
        ("256:a", "", "from 0 to 255"),
        ("-1:a", "", "from 0 to 255"),
        ("none.json", "", "No such file"),
        ("a.json", "[7, 8]", 'no {"7": "road"} is in it'),
        ("a.json", '{"7": "road, wet"}', "a comma"),
        ("a.json", '{"road": "seven"}', "invalid literal"),
        ("a.json", "{", "Expecting"),
    ],
)
def test_what_is_none(text: str, content: str, why: str) -> None:
    Path("a.json").write_text(content)
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        mask_values(text)
    assert str(caught.value).startswith(
        f"expected 0:background,255:name or a file .json, got '{text}"
    )
    assert why in str(caught.value)


def test_names_in_a_file_as_tools_write_it() -> None:
    Path("class_names.txt").write_text("__ignore__\n_background_\nroad\n")
    Path("mine.txt").write_text("\ufeffsky\r\nsea\r\n")
    named = [parse_options(["--data-root", "d", "--classes", name]).classes_given
             for name in ("class_names.txt", "mine.txt", "sky, sea", "sky")]  # fmt: skip
    assert [*map(list, named)] == [["background", "road"], *[["sky", "sea"]] * 2, ["sky"]]
    for name in ("mien.txt", "here/mine"):
        with pytest.raises(FileNotFoundError, match=f"^--classes {name}: no such file"):
            parse_options(["d", "--classes", name])


@pytest.mark.parametrize("text", ["-1", "256", "x", "1.0", ""])
def test_a_void_that_is_none(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="0 to 255, got"):
        byte(text)


def test_a_checkpoint_keeps_what_the_file_said() -> None:
    Path("a.json").write_text('{"0": "rest", "255": "cell"}')
    begun = parse_options(
        ["--data-root", "d", "--mask-values", "a.json", "--void", "9", "--out", "a"]
    )
    assert begun.classes_given == {0: "rest", 255: "cell"} and begun.void == 9
    Path("a.json").unlink()
    Path("a").mkdir()
    checkpoint.save("a/best.npz", {"arguments": saved_options(begun)})
    options = parse_options(["--evaluate", "a/best.npz"])
    assert (options.classes_given, options.void) == (begun.classes_given, 9)
    options = parse_options(["--evaluate", "a/best.npz", "--classes", "x,y"])
    assert options.classes_given == ["x", "y"]


@pytest.mark.parametrize("option", ["--mask-values 0:a", "--void 0"])
def test_they_are_about_own_data(option: str) -> None:
    with pytest.raises(UsageError, match="goes with --data-root"):
        parse_options(option.split())
    with pytest.raises(UsageError, match="--classes and --mask-values exclude each other"):
        parse_options(["--data-root", "d", "--classes", "a,b", "--mask-values", "0:a"])
