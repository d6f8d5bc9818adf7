"""The commands of ``tinyfcn puzzles``, and what they say of a reader's files."""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tinyfcn import cli
from tinyfcn.backend.cuda.emulator import build
from tinyfcn.puzzles import limits, picture
from tinyfcn.puzzles.folder import NOTE, file
from tinyfcn.puzzles.grade import PUZZLES

Call = Callable[..., tuple[int, str]]
needs_compiler = pytest.mark.skipif(not shutil.which("g++"), reason="needs g++")
FOLDER = Path("puzzles")


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Call:
    """Run a command in an empty folder; gives its status and all that it said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: object) -> tuple[int, str]:
        try:
            status = cli.main(["puzzles", *map(str, arguments)])
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
        said = capsys.readouterr()
        return status, said.out + said.err

    return run


def write(number: int, text: str) -> Path:
    path = file(FOLDER, PUZZLES[number - 1])
    path.write_text(text, "utf-8")
    return path


def solve(number: int) -> Path:
    return write(number, PUZZLES[number - 1].solution.read_text("ascii"))


def test_start_copies_and_never_writes_over(call):
    assert call("start") == (
        0,
        f"30 puzzles copied to {FOLDER}{os.sep}. "
        f"Begin with {FOLDER / 'layers' / '01_im2col.py'}; then:\n"
        "tinyfcn puzzles check 1\n",
    )
    mine = write(1, "mine")
    file(FOLDER, PUZZLES[1]).unlink()
    status, said = call("start")
    assert (status, mine.read_text()) == (0, "mine")
    assert f"1 puzzles copied to {FOLDER}{os.sep}, 29 kept as they are" in said
    assert not list(FOLDER.rglob("*solution*"))


def test_start_refuses_a_folder_that_has_such_a_file(call):
    path = Path("other/kernels/13_map.cu")
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    status, said = call("start", "other")
    assert status == 2 and str(path) in said and "is there already" in said
    assert [p for p in Path("other").rglob("*") if p.is_file()] == [path]


def test_start_refuses_a_file(call):
    Path("taken").write_text("")
    status, said = call("start", "taken")
    assert status == 2 and "taken" in said


@pytest.mark.parametrize("folder, option", [(".", ""), ("my puzzles", " --folder 'my puzzles'")])
def test_start_says_a_command_that_works(folder, option, call):
    status, said = call("start", folder)
    assert status == 0 and said.splitlines()[1] == f"tinyfcn puzzles check 1{option}"
    assert "nothing yet" in call(*shlex.split(said.splitlines()[1])[2:])[1]


def test_a_right_file_counts_until_it_changes(call):
    call("start")
    assert call("check")[0] == 1  # nothing begun
    path = solve(7)
    assert call("check", 7) == (0, "07_bilinear.py: right, 6 cases\n")
    assert "  right  07_bilinear.py" in call("status")[1]
    assert re.search(r"layers +\[##\.{28}\] 1 of 12", call("status")[1])
    path.write_text(path.read_text() + "\n# one more line\n")
    assert "  begun  07_bilinear.py" in call("status")[1]
    assert call("check")[0] == 0
    assert "  right  07_bilinear.py" in call("status")[1]
    assert all(len(line) < 80 for line in call("status")[1].splitlines())


def test_several_are_checked_by_number_and_file(call, monkeypatch):
    call("start")
    solve(7)
    status, said = call("check", "7", "layers/05_max_unpool2d.py")
    assert status == 1
    assert said.splitlines()[-1] == "1 of 2 right"
    monkeypatch.chdir(FOLDER / "layers")
    assert call("check", "07_bilinear.py")[0] == 0


def test_a_file_is_graded_where_it_is(call):
    call("start")
    solve(7)
    call("start", "other")
    assert "nothing yet" in call("check", "other/layers/07_bilinear.py")[1]
    assert call("check", FOLDER / "layers/07_bilinear.py")[0] == 0
    status, said = call("check", PUZZLES[6].stub)  # in no folder of a reader
    assert status == 2 and "no puzzles in" in said


WRONG = {
    "a syntax error": ("def im2col(x)\n    pass\n", r"\"01_im2col\.py\", line 1\n.*SyntaxError"),
    "an exception": (
        "def f(x):\n    return x.nothing\ndef im2col(x, kernel, stride, padding):\n    f(x)\n",
        r"01_im2col\.py:2: return x\.nothing\nAttributeError",
    ),
    "an exception of NumPy": (
        "import numpy as np\ndef im2col(x, *rest):\n    return np.zeros((2, 3)) @ np.zeros(2)\n",
        r"01_im2col\.py:3: return .*\nValueError",
    ),
    "an endless loop": (
        "def im2col(x, *rest):\n    n = 0\n    while True:\n        n += 1\n",
        r"01_im2col\.py:[34]: .*\nno end after",
    ),
    "an endless import": ("while True:\n    pass\n", "no end after"),
    "an exit": ("raise SystemExit(0)\n", "SystemExit: 0"),
    "a recursion": ("def im2col(*a):\n    return im2col(*a)\n", "RecursionError"),
    "another library": ("from scipy import signal\n", "imports scipy, but only NumPy"),
    "another name": ("def im2row(x):\n    pass\n", "does not define im2col"),
    "too few parameters": ("def im2col(x):\n    return x\n", "TypeError: im2col"),
    "too many results": ("def im2col(*a):\n    return a\n", "expected columns, got 4 results"),
    "no text": ("\0", "01_im2col.py|null"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_fails_is_said_with_the_line_of_the_file(name, call, monkeypatch):
    monkeypatch.setattr(limits, "SECONDS", 0.3)
    call("start")
    text, wanted = WRONG[name]
    write(1, text)
    status, said = call("check", 1)
    assert status == 1
    assert re.search(wanted, said, re.DOTALL), said
    assert "Traceback" not in said and "tinyfcn/" not in said


def test_a_breakpoint_may_take_its_time(call, monkeypatch):
    monkeypatch.setattr(limits, "SECONDS", 0.1)
    monkeypatch.setattr(sys, "stdin", Slow())
    call("start")
    write(1, "import pdb\ndef im2col(*arguments):\n    pdb.Pdb().set_trace()\n    return None\n")
    assert "nothing yet" in call("check", 1)[1]


class Slow(io.StringIO):
    """Somebody who thinks before going on."""

    def readline(self, size: int = -1) -> str:
        time.sleep(0.5)
        return "continue\n"


WRONG_KERNELS = {
    "does not compile": ("__global__ void map(float* y) {\n  z;\n}",
                         r"13_map\.cu:2: error: 'z' was not declared"),
    "other parameters": ("__global__ void map(float* x, float* y) {}", "expected 2 arguments"),
    "another type": ("__global__ void map(const double* x, float* y, float a, float b) {}",
                     "expected float64, got float32"),
    "another name": ("__global__ void mop(float* y) {}", "kernel map; there are mop"),
    "no kernel": ("__global__ int map;", "kernel map"),
    "nothing defined": ("__device__ float f(float);\n__global__ void map(const float* x, float* y, "
                        "float a, float b) { *y = f(a); }", "undefined symbol"),
}  # fmt: skip


@needs_compiler
@pytest.mark.parametrize("name", WRONG_KERNELS)
def test_what_is_wrong_with_a_kernel_file_is_said(name, call):
    call("start")
    text, wanted = WRONG_KERNELS[name]
    write(13, text)
    status, said = call("check", 13)
    assert status == 1
    assert re.search(wanted, said), said
    assert "/tmp" not in said


def test_without_a_compiler_it_says_so(call, monkeypatch):
    monkeypatch.setattr(build, "COMPILER", "no-such-compiler")
    build.compiler_version.cache_clear()
    call("start")
    status, said = call("check", 13)
    build.compiler_version.cache_clear()
    assert status == 2
    assert said.startswith("error: the emulator compiles kernels with g++, which is not installed")


@needs_compiler
def test_a_kernel_alone_shows_what_it_costs(call):
    call("start")
    solve(29)
    status, said = call("check", 29)
    assert status == 0
    assert "29_transpose.cu: right, 4 cases, each in two orders of threads\n" in said
    assert re.search(r"line +\d+  shared reads +\d+ requests x  1\.00, at least  1\.00", said)


ENDLESS = """__global__ void map(const float* x, float* y, float a, float b) {
    for (int i = 0;; i = 1 - i) y[threadIdx.x] = i;
}
"""
PROGRAM = "from tinyfcn import cli; from tinyfcn.puzzles import limits; limits.SECONDS = {}; "
PROGRAM += "print('begun', flush=True); cli.main(['puzzles', 'check', '13', '7'])"


def checked_elsewhere(seconds: float) -> subprocess.Popen[str]:
    """A process of its own that checks a kernel without an end."""
    write(13, ENDLESS)
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(seconds)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip


@needs_compiler
def test_an_endless_kernel_ends_the_check(call):
    call("start")
    with checked_elsewhere(0.5) as process:
        said, _ = process.communicate(timeout=60)
    assert "no end after 0.5 seconds" in said
    assert "A kernel cannot be stopped, so this check ends here.\n0 of 2 right\n" in said


@needs_compiler
def test_ctrl_c_ends_the_check_of_an_endless_kernel(call):
    call("start")
    solve(13)
    call("check", 13)  # compiles the runtime
    with checked_elsewhere(600) as process:
        assert process.stdout.readline() == "begun\n"
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == "stopped\n"


def test_hints_and_solutions(call):
    first, second = call("hint", 1)[1], call("hint", 1, 2)[1]
    assert first and second and first != second
    assert call("solution", "01_im2col")[1] == PUZZLES[0].solution.read_text("ascii")
    assert max(map(len, (first + second).splitlines())) < 80


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["check"], "no puzzles here: tinyfcn puzzles start"),
        (["status", "--folder", "nowhere"], "no puzzles in nowhere"),
        (["hint", "31"], "no puzzle is called 31; there are 1 to 30"),
        (["solution", "01_im2cal.py"], "did you mean 01_im2col?"),
        (["hint", "1", "3"], "invalid choice"),
        (["chekc"], "did you mean check?"),
    ],
)
def test_what_cannot_be_done_is_said(arguments, said, call):
    status, answer = call(*arguments)
    assert status == 2
    assert said in answer


def test_a_file_that_is_gone(call):
    call("start")
    file(FOLDER, PUZZLES[0]).unlink()
    status, said = call("check", 1)
    assert status == 2 and "start puzzles copies it again" in said
    assert call("status")[0] == 0


def test_a_damaged_note_does_no_harm(call):
    call("start")
    (FOLDER / NOTE).write_bytes(b"\xff\x00 nonsense")
    solve(7)
    assert call("check", 7)[0] == call("status")[0] == 0


def test_colours_are_for_terminals_only(monkeypatch):
    assert picture.coloured("text", picture.RED) == "text"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert picture.coloured("text", picture.RED) == "\x1b[31mtext\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert picture.coloured("text", picture.RED) == "text"
