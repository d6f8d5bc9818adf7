"""A screen that cannot take what is printed ends no command and shows no traceback."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tinyfcn import cli
from tinyfcn.cli.errors import UsageError, plain_errors
from tinyfcn.training.screen import for_watching

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ["--help", "--version", "kernels list", "summary unet width=0.02", "train --help"]


def nobody_reads() -> Any:
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "w")


def full(buffering: int = -1) -> Any:
    return open("/dev/full", "w", buffering, encoding="utf-8")


def for_reading() -> Any:
    return os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")


NO_SPACE = "error: standard output: no space left on device"
SCREENS: dict[str, tuple[Any, int, str]] = {
    "closed": (lambda: None, 0, ""),
    "full": (full, 2, NO_SPACE),
    "full line by line": (lambda: full(1), 2, NO_SPACE),
    "read by nobody": (nobody_reads, 141, ""),
    "for reading": (for_reading, 2, "error: standard output: bad file descriptor"),
}


@contextlib.contextmanager
def printing_to(kind: str, *names: str) -> Iterator[None]:
    """In this block these streams are of a kind; closed after it, as Python does at its end, which
    fails if something is held that cannot be written."""
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        for name in names:
            stream = SCREENS[kind][0]()
            if stream is not None:
                stack.enter_context(stream)
            patch.setattr(sys, name, stream)
        yield


def status_of(arguments: str) -> Any:
    try:
        return cli.main(arguments.split())
    except SystemExit as end:
        return end.code or 0


@pytest.mark.parametrize("kind", SCREENS)
@pytest.mark.parametrize("arguments", COMMANDS)
def test_what_a_screen_cannot_take(
    arguments: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with printing_to(kind, "stdout"):
        status = status_of(arguments)
    assert (status, capsys.readouterr().err.strip()) == SCREENS[kind][1:]


@pytest.mark.parametrize("kind", SCREENS)
def test_an_error_that_cannot_be_shown(kind: str) -> None:
    with printing_to(kind, "stdout", "stderr"):
        assert status_of("sumary unet") == 2


@pytest.mark.parametrize("kind", SCREENS)
def test_what_follows_is_done(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    done = []
    with printing_to(kind, "stdout"), pytest.raises(SystemExit) as end, plain_errors():
        for number in range(3):
            print("x" * 10_000, flush=True)
            done.append(number)
        raise UsageError("what went wrong comes first")
    assert (done, end.value.code) == ([0, 1, 2], 2)
    assert capsys.readouterr().err == "error: what went wrong comes first\n"


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("text", ["plain", "Zürich", "x → y", "\udcff.png", "😀 日本"])
def test_letters_that_the_encoding_lacks(
    text: str, encoding: str, errors: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    stdout = io.TextIOWrapper(written, encoding, errors)
    monkeypatch.setattr(sys, "stdout", stdout)
    with plain_errors():
        print(text)
    assert written.getvalue() == f"{text}\n".encode(encoding, "backslashreplace")


def test_a_choice_of_the_user_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii", "replace"))
    with plain_errors():
        print("Zürich")
    assert written.getvalue() == b"Z?rich\n"


@pytest.mark.parametrize("arguments", COMMANDS)
def test_an_ascii_terminal(arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii"))
    assert status_of(arguments) == 0
    assert written.getvalue().isascii() and written.getvalue().strip()


@pytest.mark.parametrize("kind", SCREENS)
def test_what_is_only_watched_is_no_failure(kind: str) -> None:
    """As what training prints, whose results are in its folder."""
    with printing_to(kind, "stdout"), plain_errors():
        print("begun", flush=True)
        with for_watching():
            print("an epoch", flush=True)
        print("done")


PROGRAM = """
import sys, warnings
from tinyfcn.cli.errors import UsageError, plain_errors
from tinyfcn.training import report

how = sys.argv[1]
with plain_errors():
    bar = report.bar(total=9, desc="evaluation")  # it is still there when this ends
    if how == "error":
        report.note("a note")
        warnings.warn("a warning", stacklevel=1)
    raise {"defect": ZeroDivisionError}.get(how, UsageError)("what went wrong")
"""


def seen_on_a_terminal(said: str) -> list[str]:
    """The lines that stay, where each carriage return begins the line anew."""
    lines, row, column = [[" "] * 200], 0, 0
    for letter in said.replace("\r\n", "\n"):
        if letter == "\n":
            lines.append([" "] * 200)
            row, column = row + 1, 0
        elif letter == "\r":
            column = 0
        else:
            lines[row][column] = letter
            column += 1
    return ["".join(line).rstrip() for line in lines]


@pytest.mark.parametrize("how", ["error", "defect"])
@pytest.mark.parametrize("where", ["terminal", "file"])
def test_an_error_begins_on_a_line_of_its_own(how: str, where: str) -> None:
    command = [sys.executable, "-c", PROGRAM, how]
    options: Any = {"env": {**os.environ, "PYTHONPATH": str(ROOT)}, "check": False}
    if where == "file":
        said = subprocess.run(command, stderr=subprocess.PIPE, text=True, **options).stderr
        lines = said.split("\n")
        assert "evaluation" in said
    else:
        pty = pytest.importorskip("pty")
        controller, terminal = pty.openpty()
        subprocess.run(command, stdin=terminal, stdout=terminal, stderr=terminal, **options)
        os.close(terminal)
        said = os.read(controller, 100_000).decode()
        os.close(controller)
        assert "evaluation" in said
        lines = seen_on_a_terminal(said)
        assert not any("evaluation" in line for line in lines)  # nothing of the bar stays
    for line in {
        "error": ["a note", "<string>:", "error: what went wrong"],
        "defect": ["Traceback (most recent call last):"],
    }[how]:
        assert sum(found.startswith(line) for found in lines) == 1, lines
