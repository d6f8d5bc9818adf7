"""The README keeps its word: its code runs, and what it names is there."""

from __future__ import annotations

import configparser
import re
import shlex
from pathlib import Path

import pytest

from tinyfcn import backend, cli, models, nn, weights
from tinyfcn.benchmark.scaling import LINKS
from tinyfcn.cli.option_table import DEFAULTS
from tinyfcn.cli.train_options import parse_options
from tinyfcn.models.table import table

ROOT = Path(__file__).resolve().parents[1]
TEXT = "".join((ROOT / name).read_text("utf-8") for name in ("README.md", "tests/README.md"))


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def words(line: str) -> list[str]:
    return shlex.split(line, comments=True)


# Every command line, from the blocks and from the tables and sentences.
COMMANDS = [line for block in blocks("sh") for line in block.splitlines() if line]
COMMANDS += re.findall(r"`((?:python|tinyfcn) [^`]+)`", TEXT)
TRAIN = [line for line in COMMANDS if "tinyfcn train" in line]
PATHS = {
    *re.findall(r"\]\(([^)#:]+)\)", TEXT),  # links and pictures
    *re.findall(r"\bexamples/[\w/]+\.py\b", TEXT),
    *re.findall(r"`((?:tinyfcn|tests)/[\w/.]*)`", TEXT),
    *(f"tinyfcn/{folder}" for folder in re.findall(r"`(backend/[\w/]*/)`", TEXT)),
}


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_the_code_runs(number):
    exec(blocks("python")[number], {})


def test_there_is_something_to_check():
    assert len(blocks("python")) >= 1
    assert len(TRAIN) >= 4
    assert {"LICENSE", "examples/predict.py", "tinyfcn/tensor.py"} <= PATHS


def test_the_commands_that_compute_on_a_gpu_are_named(capsys):
    (sentence,) = re.findall(
        r"add\n`--backend cupy` to (.*?), which are the commands", TEXT, re.DOTALL
    )
    named = {*" ".join(re.findall("`(?:tinyfcn )?(.*?)`", sentence)).split()} - {"run"}

    def takes_it(*words):
        with pytest.raises(SystemExit):
            cli.main([*words, "--help-all" if words == ("train",) else "--help"])
        return "--backend" in capsys.readouterr().out

    assert {c for c in cli.COMMANDS if takes_it(*([c, "run"] if c == "kernels" else [c]))} == named


def test_the_table_of_networks_is_what_the_networks_are():
    written = re.search(r"<!-- the output of [^>]*-->\n(.*?)\n<!-- end -->", TEXT, re.DOTALL)
    assert written.group(1) == table()


@pytest.mark.parametrize(
    ("name", "options"),
    [("FCN-8s", {}), ("FCN-8s, quarter width, batch norm", {"width": 0.25, "batch_norm": True})],
)
def test_the_table_of_links_is_what_the_simulation_assumes(name, options):
    with backend.using("meta"):
        size = 4 * nn.count_parameters(models.fcn8s(num_classes=21, **options))
    cells = re.search(rf"^\| {name} \| (.*) \|$", TEXT.partition("2 · bytes")[2], re.MULTILINE)
    written, *times = cells.group(1).split(" | ")
    assert written == f"{size / 1e6:.1f} MB"
    ms = [2000 * size / link.bandwidth for link in LINKS]
    assert [float(time) for time in times] == [float(f"{x:.2g}") for x in ms]


def test_every_extra_exists():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    named = re.findall(r"install [^\n]*'\.\[(\w+)\]'", TEXT)
    assert {"tensorboard", "test"} <= set(named) <= set(config["options.extras_require"])


@pytest.mark.parametrize("path", sorted(PATHS))
def test_every_file_is_there(path):
    assert (ROOT / path).exists()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(\w+(?:/\w+)*\.py)`", TEXT))))
def test_every_file_of_the_reading_order_is_there(name):
    # In a list of files the later ones stand without the folder of the first.
    folders = [ROOT, ROOT / "tinyfcn", *(p for p in (ROOT / "tinyfcn").rglob("*") if p.is_dir())]
    assert any((folder / name).is_file() for folder in folders)


@pytest.mark.parametrize("line", [line for line in COMMANDS if "tinyfcn " in line])
def test_every_command_exists(line):
    assert line.partition("tinyfcn ")[2].split()[0] in [*cli.COMMANDS, "COMMAND", "--help"]


def test_the_reading_order_is_an_afternoon():
    """Each file with its number of lines, together at most 3000."""
    section = TEXT.partition("## Reading order")[2].partition("\n## ")[0]
    written = dict(re.findall(r"^\| `([\w/.]+)` \| (\d+) \|", section, re.MULTILINE))
    assert len(written) >= 10
    real = {name: len((ROOT / name).read_text("utf-8").splitlines()) for name in written}
    wrong = {name: count for name, count in real.items() if int(written[name]) != count}
    assert not wrong, f"README.md, reading order: write these numbers of lines: {wrong}"
    assert sum(real.values()) <= 3000


@pytest.mark.parametrize("line", TRAIN)
def test_every_training_command_is_understood(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(weights, "read", lambda path: None)  # files that the reader has
    given = words(line.rpartition("tinyfcn train")[2])
    folder = ["--data-root"] if given and not given[0].startswith("-") else []
    assert set(parse_options(given).given) == {
        word[2:].replace("-", "_") for word in [*folder, *given] if word.startswith("--")
    }


OF_OTHERS = "--kill-on-bad-exit --mpi --shm-size --signal "  # of srun and docker


# Options that stand in a sentence: in the help of one of the scripts.
@pytest.mark.parametrize("option", sorted(set(re.findall(r"(?<![\w-])--[a-z][\w-]+", TEXT))))
def test_every_option_exists(option):
    known = OF_OTHERS + " ".join("--" + name.replace("_", "-") for name in DEFAULTS) + " "
    for script in [*(ROOT / "examples").glob("*.py"), *(ROOT / "tinyfcn" / "cli").glob("*.py")]:
        source = script.read_text("utf-8")
        known += " ".join(re.findall(r'add(?:_argument)?\(\s*"(--[\w-]+)"', source)) + " "
    assert re.search(rf"{option}(?![\w-])", known)
