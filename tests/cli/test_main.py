"""The commands of ``tinyfcn``, and what is said to somebody who mistypes one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tinyfcn
from tinyfcn import cli

ROOT = Path(tinyfcn.__file__).parents[1]


def said_by(
    *arguments: str, folder: Path, stdout: Any = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    """What ``python -m tinyfcn`` says where only the path leads to the checkout."""
    return subprocess.run(
        [sys.executable, "-m", "tinyfcn", *arguments], cwd=folder, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=stdout, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_an_overview(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["--help"], ["-h"]):
        assert cli.main(arguments) == 0
        said = capsys.readouterr().out
        assert said.startswith("usage: tinyfcn COMMAND")
        for name, (_, summary) in cli.COMMANDS.items():
            assert f"  {name} " in said and summary in said


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"tinyfcn {tinyfcn.__version__}\n"


def test_a_wrong_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    for command, answer in (
        ("tarin", "; did you mean train?"),
        ("xyz", f"; there are {', '.join(cli.COMMANDS)}"),
    ):
        with pytest.raises(SystemExit) as stop:
            cli.main([command])
        assert stop.value.code == 2
        assert capsys.readouterr().err == f"error: unknown command {command}{answer}\n"


def test_python_m_without_an_installation(tmp_path: Path) -> None:
    done = said_by("train", "--learning-rate", "1", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "error: unknown option --learning-rate; did you mean --lr?\n"


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["written at the end", "written at once"])
@pytest.mark.parametrize("arguments", ["kernels list", "kernels lst"])
def test_a_pipe_that_closes_early_is_no_error(
    arguments: str, unbuffered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = said_by(*arguments.split(), folder=tmp_path, stdout=closed)
    if arguments == "kernels lst":  # what is wrong is said none the less
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    else:
        assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_is_one_screen_and_ends_with_examples(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    module, summary = cli.COMMANDS[command]
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 45 and max(map(len, lines)) <= 100
    assert lines[0].startswith(f"usage: tinyfcn {command}") and summary in lines
    examples = lines[lines.index("examples:") + 1 :]
    assert examples and all(" tinyfcn " in line for line in examples)
    assert str(cli.load(module).__doc__).startswith(f"{summary}\n")


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [(["-m", "tinyfcn"], 130, "stopped\n"), (["tinyfcn"], 130, "stopped\n"),
     (["mine.py"], -signal.SIGINT, "KeyboardInterrupt\n")],
)  # fmt: skip
def test_ctrl_c_while_it_is_imported(
    tmp_path: Path, words: list[str], status: int, said: str
) -> None:
    """Of the command; scripts of others hear of it as always."""
    (tmp_path / "numpy.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    for name in ("tinyfcn", "mine.py"):
        (tmp_path / name).write_text("from tinyfcn.cli import main\nraise SystemExit(main())\n")
    done = subprocess.run(
        [sys.executable, *words, "models"], cwd=tmp_path, text=True, capture_output=True,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    assert (done.stderr if status == 130 else done.stderr.splitlines(keepends=True)[-1]) == said
