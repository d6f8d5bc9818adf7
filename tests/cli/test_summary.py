"""``tinyfcn models`` and ``tinyfcn summary``."""

import runpy
import sys
from pathlib import Path

import pytest

from tinyfcn import cli, models


@pytest.fixture
def call(capsys):
    def run(*arguments):
        try:
            status = cli.main(arguments)
        except SystemExit as stop:
            status = stop.code
        return (status, *capsys.readouterr())

    return run


README = Path(__file__).resolve().parents[2] / "README.md"


@pytest.fixture
def table():
    """The rows of the table, which test_readme.py compares with those that are computed."""
    text = README.read_text("utf-8").partition("<!-- the output of tinyfcn models")[2]
    return [line for line in text.partition("<!-- end -->")[0].splitlines() if line[:3] == "| `"]


def test_the_table_is_printed(call, monkeypatch):
    monkeypatch.setattr("tinyfcn.cli.models.table", lambda: "| `unet` |")
    assert call("models") == (0, "| `unet` |\n", "")


def test_the_table_has_every_network(table):
    calls = [line.split("`")[1].split() for line in table]
    assert [*dict.fromkeys(name for name, *_ in calls)] == models.list()
    assert ["fcn32s", "backbone=caffenet"] in calls


@pytest.mark.parametrize("before", [0, 1, 2])
def test_one_network(call, before):
    arguments, options = ["width=0.25", "geometry=reference"], ["--input", "3x375x500"]
    status, said, _ = call(
        "summary", "fcn8s", *arguments[:before], *options, "--num-classes", "2", *arguments[before:]
    )
    assert status == 0
    assert "1 x 3 x 375 x 500 → 1 x 2 x 375 x 500" in said
    assert said.splitlines()[-1] == "receptive field 404, stride 32"


def test_the_number_of_classes_is_an_argument_as_well(call):
    status, said, _ = call("summary", "same_resolution", "num_classes=2", "--input", "3x8x8")
    assert status == 0
    assert "1 x 3 x 8 x 8 → 1 x 2 x 8 x 8" in said


def test_so_is_the_number_of_channels(call):
    status, said, _ = call("summary", "segnet", "in_channels=1")
    assert status == 0 and "1 x 1 x 500 x 500 → 1 x 21 x 500 x 500" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fcn9s"], "got 'fcn9s'; did you mean fcn8s?"),
        (["fcn8s", "widt=2"], "widt"),
        (["fcn8s", "wide"], "expected KEY=VALUE, got 'wide'"),
        (["fcn8s", "--input", "3xH"], "expected 3x500x500, got '3xH'"),
        (["fcn8s", "--input", "4x8x8"], r"(1, 4, 8, 8)"),
        (["fcn8s", "geometry=round"], "'round'"),
        (["fcn8s", "width=wide"], "width must be a number, got 'wide'"),
    ],
)
def test_what_cannot_be_done_is_said_clearly(call, arguments, words):
    status, _, complaint = call("summary", *arguments)
    assert status == 2
    assert words in complaint.splitlines()[-1]


def test_a_network_has_the_figures_of_the_table(call, table):
    rows = {line.split("`")[1]: line.split(" | ") for line in table}
    for row in ("caffenet", "fcn16s", "resnet18", "unet geometry=aligned"):
        _, said, _ = call("summary", row.split()[0])
        side, parameters, operations = rows[row][1:4]
        assert f"1 x 3 x {side} → 1 x " in said
        assert f"\n{parameters} parameters" in said
        assert f"\n{operations} multiply-adds" in said


def test_the_table_does_not_take_an_image(call):
    status, said, complaint = call("models", "--input", "3x20x20")
    assert (status, said) == (2, "")
    assert "unknown option --input" in complaint


@pytest.mark.parametrize(
    ("arguments", "command"),
    [([], ["models"]), (["unet", "width=1"], ["summary", "unet", "width=1"])],
)
def test_python_m_tinyfcn_models(arguments, command, monkeypatch):
    called = []
    monkeypatch.setattr(cli, "main", called.append)
    monkeypatch.setattr(sys, "argv", ["models", *arguments])
    with pytest.raises(SystemExit):
        runpy.run_module("tinyfcn.models.__main__", run_name="__main__")
    assert called == [command]
