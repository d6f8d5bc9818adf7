"""Where each option's value comes from, and which combinations are rejected."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from tinyfcn import backend
from tinyfcn.cli.class_options import class_names
from tinyfcn.cli.errors import UsageError
from tinyfcn.cli.network import spec_of
from tinyfcn.cli.option_table import DEFAULTS, RARE
from tinyfcn.cli.train_options import (
    PAPER,
    open_run,
    parse_options,
    saved_options,
)
from tinyfcn.data import DataError
from tinyfcn.training import checkpoint
from tinyfcn.training.checkpoint import CheckpointError
from tinyfcn.training.run_folder import RECORDS


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_defaults() -> None:
    options = parse_options([])
    assert options.values == DEFAULTS | {"out": "runs/fcn8s", "momentum": 0.5} and not options.given
    sgd = parse_options(["--no-batch-norm", "--no-flip", "--optimizer", "sgd"])
    assert (sgd.batch_norm, sgd.momentum) == (False, 0.9)


def test_the_folder_of_data_needs_no_name() -> None:
    named = parse_options(["--data-root", "d", "--lr", "1"])
    for command in ("d --lr 1", "--lr 1 d", "--lr 1 -- d", "--data-root d --lr 1 d"):
        assert parse_options(command.split()) == named
    assert parse_options(["--", "-d"]).data_root == "-d"


@pytest.mark.parametrize(("model", "lr"), [("fcn32s", 1e-10), ("fcn16s", 1e-12), ("fcn8s", 1e-14)])
def test_the_published_settings(model: str, lr: float) -> None:
    options = parse_options(["--preset", "paper", "--model", model])
    expected = {
        "lr": lr, "momentum": 0.99, "weight_decay": 5e-4, "bias_lr": 2.0, "batch_size": 1,
        "loss_reduction": "sum", "optimizer": "sgd", "schedule": "constant", "warmup": 0,
        "geometry": "reference", "preprocessing": "caffe", "width": 1.0, "batch_norm": False,
        "iterations": 100_000, "epochs": None, "crop": None, "jitter": 0.0, "flip": False,
    }  # fmt: skip
    assert expected.items() <= options.values.items()


def test_at_once_has_its_own_rate_and_length_and_the_command_line_wins() -> None:
    options = parse_options(["--preset", "paper", "--at-once", "--epochs", "2", "--width", "0.5"])
    assert (options.lr, options.epochs, options.iterations) == (1e-10, 2, None)
    assert options.width == 0.5
    assert parse_options(["--preset", "paper", "--at-once"]).iterations == 300_000


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (
            "fcn32s --backbone caffenet",
            {"lr": 1e-4, "momentum": 0.9, "batch_size": 1, "accumulate": 20, "iterations": 100_000,
             "weight_decay": 5e-4, "loss_reduction": "mean", "geometry": "reference"},
        ),
        (
            "segnet",
            {"lr": 1e-3, "momentum": 0.9, "weight_decay": 5e-4, "batch_size": 4, "bias_lr": 2.0,
             "iterations": 40_000, "class_weights": "median-frequency", "schedule": "constant"},
        ),
        ("segnet_basic", {"lr": 0.1, "momentum": 0.9, "batch_size": 4, "iterations": 10_000}),
        (
            "deeplab_largefov",
            {"lr": 1e-3, "momentum": 0.9, "weight_decay": 5e-4, "batch_size": 10, "crop": 321,
             "iterations": 20_000, "schedule": "poly", "loss_reduction": "mean"},
        ),
        (
            "pspnet",
            {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4, "batch_size": 16, "accumulate": 1,
             "iterations": 30_000, "epochs": None, "schedule": "poly"},
        ),
        (
            "fcn_resnet50",
            {"lr": 0.02, "momentum": 0.9, "weight_decay": 1e-4, "batch_size": 4, "accumulate": 8,
             "epochs": 30, "iterations": None, "crop": 480, "schedule": "poly"},
        ),
        ("unet --lr 0.25", {"lr": 0.25, "momentum": 0.99, "batch_size": 1, "crop": 388}),
    ],
)  # fmt: skip
def test_the_published_settings_of_other_networks(command: str, expected: dict[str, Any]) -> None:
    options = parse_options(["--preset", "paper", "--model", *command.split()])
    assert expected.items() <= options.values.items()
    assert (options.optimizer, options.warmup, options.width) == ("sgd", 0, 1.0)


@pytest.mark.parametrize("network", PAPER)
def test_every_preset_describes_a_network(network: str) -> None:
    command = ["--preset", "paper", "--lr", "0.25", "--width", "0.015625", "--model"]
    with backend.using("meta"):
        spec_of(parse_options([*command, *network.split()]), ("background", "cat")).build()


def test_a_preset_is_kept_on_resume() -> None:
    begun = parse_options(["--preset", "paper", "--model", "unet", "--lr", "0.25", "--out", "a"])
    Path("a").mkdir()
    checkpoint.save("a/last.npz", {"arguments": saved_options(begun)})
    options = parse_options(["--out", "a", "--resume"])
    assert options.values == begun.values | {"resume": "a/last.npz"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("crop", "320"), ("crop", -1), ("crop", 1e9), ("crop", [1]), ("batch_size", 0),
        ("batch_size", True), ("batch_size", None), ("lr", "0.1"), ("lr", float("nan")),
        ("lr", 1e300), ("backend", "cpu"), ("flip", 1), ("flip", None), ("model", "vgg16"),
        ("model", {"a": 1}), ("schedule", "linear"), ("data_root", 5), ("data_root", "a\0b"),
        ("seed", -1), ("width", 9.0),
    ],
)  # fmt: skip
def test_an_option_that_nobody_can_have_typed(name: str, value: Any) -> None:
    arguments = {**saved_options(parse_options(["--out", "a"])), name: value}
    checkpoint.save("a.npz", {"arguments": arguments})
    for goal in ("--resume", "--evaluate"):
        with pytest.raises(CheckpointError, match=rf"a\.npz: --{name.replace('_', '-')} cannot be"):
            parse_options([goal, "a.npz"])


def test_options_that_are_none() -> None:
    for arguments in ([1], "x", None):
        checkpoint.save("a.npz", {"arguments": arguments})
        with pytest.raises(CheckpointError, match=r"a\.npz: its options are"):
            parse_options(["--resume", "a.npz"])
    checkpoint.save("a.npz", {"arguments": {"out": "/", "pretrained": "b", "other": 1}})
    options = parse_options(["--resume", "a.npz"])
    assert (options.out, options.pretrained) == (".", None)


def test_a_run_goes_on_with_its_own_options() -> None:
    begun = parse_options(["--lr", "0.5", "--model", "fcn16s", "--out", "a"])
    Path("a").mkdir()
    checkpoint.save("a/last.npz", {"arguments": saved_options(begun)})
    for command in (["--resume", "a/last.npz"], ["--out", "a", "--resume"]):
        options = parse_options(command)
        assert options.values == begun.values | {"resume": "a/last.npz"}
    options = parse_options(["--resume", "a/last.npz", "--lr", "0.25", "--epochs", "99"])
    assert (options.lr, options.epochs, options.model) == (0.25, 99, "fcn16s")
    Path("a/last.npz").rename("a/best.npz")
    options = parse_options(["--out", "a", "--evaluate"])
    assert (options.evaluate, options.resume, options.model) == ("a/best.npz", None, "fcn16s")


def test_a_run_is_never_overwritten() -> None:
    for name in ("runs/fcn8s", "runs/fcn8s-2"):
        Path(name).mkdir(parents=True)
        checkpoint.save(f"{name}/last.npz", {})
    assert parse_options([]).out == "runs/fcn8s-3"
    with pytest.raises(UsageError, match="runs/fcn8s holds a run already: --resume"):
        open_run(parse_options(["--out", "runs/fcn8s"])).__enter__()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("--epochs 2 --iterations 3", "give one of them"),
        ("--resume a.npz --init-from b.npz", "give one of them"),
        ("--scenes 9 --data-root b", "--data-root; give one of them"),
        ("d --data-root e", "d and --data-root are both folders"),
        ("--resume", "--resume needs a checkpoint"),
        ("--evaluate", "--evaluate needs a checkpoint"),
        ("--loss ce+dice --loss-reduction sum", "dice is of images, .* give --loss-reduction mean"),
        ("--freeze trunk", "--freeze keeps what is learnt: give --pretrained or --init-from"),
        ("--classes a,b", "--classes goes with --data-root"),
        ("--sbd-root somewhere", "--sbd-root goes with --data-root"),
        ("--preset paper --model parsenet", "for --model parsenet, only for fcn32s, .*, unet"),
        ("--preset paper --backbone resnet50", "for --model fcn8s --backbone resnet50, only for"),
        ("--preset paper --model unet", "unet's learning rate was not published: give --lr"),
    ],
)
def test_rejects_combinations(command: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_options(command.split())


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("--lr fast", "--lr: expected a number between 0 and 1e+06, got 'fast'"),
        ("--lr nan", "got 'nan'"),
        ("--batch-size 0", "--batch-size: expected an integer of at least 1, got '0'"),
        ("--model resnet", "--model: expected one of fcn32s, fcn16s, fcn8s, "),
        ("--model resnet50", "--model: resnet50 labels whole images, not pixels; expected one of"),
        ("--loss dise", "expected ce, dice, focal or a sum such as ce+0.5*dice, got 'dise'"),
        ("--loss ce+0*dice", "got 'ce+0*dice'"),
        ("--loss nan*ce", "got 'nan*ce'"),
        ("--loss ce+", "got 'ce+'"),
        ("--class-weights a=1,b", "expected none, median-frequency, enet or a list such as"),
        ("--class-weights a=-1", "got 'a=-1'"),
        ("d --classes sky, sea", "one word too many, sea; lists have no blanks: a,b"),
        ("--class-weights a=1,a=2", "got 'a=1,a=2'"),
        ("--class-weights median-freq", "got 'median-freq'; did you mean median-frequency?"),
        ("--epoch 3", "unknown option --epoch; did you mean --epochs?"),
    ],
)
def test_rejects_values_in_one_line(
    command: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        parse_options(command.split())
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert words in said and said.count("\n") == 1


def test_help_tells_every_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_options(["--help-all"])
    said = " ".join(capsys.readouterr().out.split())
    for words in (
        "mirror half of all [yes]",
        "scale by 1-X to 1+X [0.0]",
        "of all random numbers [0]",
        "--[no-]batch-norm",
        "--schedule {constant,cosine,poly,step} how lr falls [poly]",
    ):
        assert words in said


def test_the_usual_options_and_all(capsys: pytest.CaptureFixture[str]) -> None:
    pages = []
    for page in ("--help", "--help-all"):
        with pytest.raises(SystemExit):
            parse_options([page])
        said = capsys.readouterr().out
        pages.append({name for name in DEFAULTS if f"{name.replace('_', '-')} " in said})
    assert pages == [DEFAULTS.keys() - {name.replace("-", "_") for name in RARE}, DEFAULTS.keys()]


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])  # some editors begin a file with a mark
def test_a_file_of_class_names(start: bytes) -> None:
    Path("names.txt").write_bytes(start + "Grund\n\nÄpfel\r\n".encode())
    assert class_names("names.txt") == ("Grund", "Äpfel")
    assert class_names("sky, sea") == ["sky", "sea"]
    assert class_names(None) is None


def test_class_names_that_cannot_be_read() -> None:
    Path("names.txt").write_bytes("Grund\nÄpfel\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"names.txt: expected a text file in UTF-8"):
        class_names("names.txt")
    with pytest.raises(FileNotFoundError, match=r"--classes none.txt: no such file; expected"):
        class_names("none.txt")


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("kind", ["file", "folder", "dangling link"])
def test_a_file_that_no_run_wrote_stays(name: str, kind: str) -> None:
    path = Path("photos", name)
    path.parent.mkdir()
    if kind == "file":
        path.write_text('{"arguments": {}, "of": "another program"}')
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    with pytest.raises(UsageError, match=f"photos/{name}: no run wrote it"):
        open_run(parse_options(["--out", "photos"])).__enter__()
    assert [*path.parent.iterdir()] == [path]


@pytest.mark.parametrize("name", ["best.npz", "last.npz"])
def test_a_checkpoint_stays_whoever_wrote_it(name: str) -> None:
    Path("photos").mkdir()
    Path("photos", name).write_text("theirs")
    with pytest.raises(UsageError, match="photos holds a run already"):
        open_run(parse_options(["--out", "photos"])).__enter__()


def test_a_run_that_saved_nothing_may_begin_again() -> None:
    with open_run(parse_options(["--out", "run"])) as folder:
        folder.write_config({})
        folder.curves.write_text("of that run")
    with open_run(parse_options(["--out", "run"])):
        assert folder.curves.read_text() == "of that run"
    for more in ([], ["run/last.npz"], ["run/best.npz"]):
        with pytest.raises(UsageError, match="run: nothing was saved yet; without --resume"):
            parse_options(["--out", "run", "--resume", *more])
    checkpoint.save("run/last.npz", {})
    with pytest.raises(FileNotFoundError):
        parse_options(["--resume", "run/best.npz"])


def test_a_run_of_its_own_goes_on_and_another_one_stays() -> None:
    for name in "a", "b", "photos":
        Path(name).mkdir()
    for name in "a/last.npz", "a/config.json", "b/last.npz", "photos/log.csv":
        Path(name).write_text("something")
    for name in "a", "./a", "../" + Path.cwd().name + "/a":
        given = argparse.Namespace(resume="a/last.npz", out=name, tensorboard=False)
        with open_run(given) as folder:
            assert folder.path.samefile("a")
    for name, words in (("b", "b holds a run"), ("photos", "photos/log.csv: no run wrote it")):
        with pytest.raises(UsageError, match=words):
            open_run(argparse.Namespace(resume="a/last.npz", out=name)).__enter__()


def test_the_next_folder_that_is_free_is_no_stranger_s() -> None:
    Path("runs/fcn8s").mkdir(parents=True)
    Path("runs/fcn8s/log.csv").write_text("ingredients,temperature")
    Path("runs/fcn8s-2").mkdir()
    assert parse_options([]).out == "runs/fcn8s-2"


def three(folder: Path) -> None:
    """A run folder whose checkpoints tell their names."""
    folder.mkdir(parents=True)
    for name in ("last", "previous", "best"):
        checkpoint.save(folder / f"{name}.npz", {"is": name})


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-90])


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[100] ^= 4
    path.write_bytes(data)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


# What becomes of files, the first that is then good, and what is said of last.npz.
DAMAGE = {
    "truncated": ({"last": truncated}, "previous", "truncated"),
    "flipped": ({"last": flipped}, "previous", "damaged"),
    "empty": ({"last": lambda path: path.write_bytes(b"")}, "previous", "empty"),
    "missing": ({"last": Path.unlink}, "previous", "no such file"),
    "a folder": ({"last": a_folder}, "previous", "folder"),
    "a picture": ({"last": lambda path: path.write_bytes(b"\x89PNG" * 9)}, "previous", "PNG"),
    "two": ({"last": truncated, "previous": flipped}, "best", "truncated"),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("command", [["--out", "a", "--resume"], ["--resume", "a"]])
def test_where_the_last_is_damaged_the_one_before_is_taken(
    damage: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    three(Path("a"))
    changes, good, words = DAMAGE[damage]
    for name, change in changes.items():
        change(Path(f"a/{name}.npz"))
    options = parse_options(command)
    assert options.state == {"is": good}
    said = capsys.readouterr().err
    assert "a/last.npz" in said and words in said and f"going on from a/{good}.npz" in said
    there = Path("a/last.npz").exists()
    with open_run(options):
        assert not Path("a/last.npz").exists(), "it would become the predecessor of the next"
        assert Path("a/last-2.npz").exists() == there
    assert checkpoint.load(f"a/{good}.npz") == {"is": good}


def test_where_all_are_damaged_the_last_is_named() -> None:
    three(Path("a"))
    for path in Path("a").iterdir():
        truncated(path)
    with pytest.raises(CheckpointError, match=r"a/last\.npz.*truncated"):
        parse_options(["--out", "a", "--resume"])


@pytest.mark.parametrize("path", ["a/previous.npz", "a/best.npz"])
def test_no_other_is_taken_where_one_is_asked_for(path: str) -> None:
    three(Path("a"))
    truncated(Path(path))
    for command in (["--resume", path], ["--evaluate", path]):
        with pytest.raises(CheckpointError, match=path):
            parse_options(command)
    truncated(Path("a/last.npz"))
    with pytest.raises(CheckpointError, match=r"a/last\.npz"):
        parse_options(["--evaluate", "a/last.npz"])


def test_going_back_to_another_checkpoint_keeps_the_last() -> None:
    three(Path("a"))
    with open_run(parse_options(["--resume", "a/best.npz"])):
        assert checkpoint.load("a/last-2.npz") == {"is": "last"}
        assert checkpoint.load("a/previous.npz") == {"is": "previous"}
