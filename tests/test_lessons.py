"""The lessons as a reader meets them: scripts, notebooks, a page, a command."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

import pytest
from PIL import Image

import tinyfcn
from tinyfcn import cli
from tinyfcn.backend.cuda.emulator import build
from tinyfcn.cli.lessons import folder
from tinyfcn.explorer.server import PORT
from tinyfcn.lessons.draw import WIDTH
from tinyfcn.lessons.notebook import INSTALL, Script, notebook, scripts

ROOT = Path(__file__).resolve().parents[1]
LESSONS = scripts(folder())

Said = tuple[int, str, str]
each = pytest.mark.parametrize("script", LESSONS, ids=lambda script: script.path.stem)


@pytest.fixture(autouse=True)
def excepthook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # which a lesson sets


@pytest.fixture
def lessons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    """The command, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Said:
        try:
            status = cli.main(["lessons", *arguments])
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
        return status, *capsys.readouterr()

    return run


def needs_its_compiler(script: Script) -> None:
    if script.link[1] == "kernel" and not shutil.which("g++"):
        pytest.skip("the emulator needs g++")


def test_they_are_numbered_in_the_order_of_reading() -> None:
    assert [script.number for script in LESSONS] == list(range(1, len(LESSONS) + 1))
    assert all(script.path.name.startswith(f"{script.number:02}_") for script in LESSONS)


@each
def test_a_lesson_is_short_and_says_what_it_is_about(script: Script) -> None:
    lines = script.path.read_text("utf-8").splitlines()
    assert len(lines) <= 80 and max(map(len, lines)) <= 100
    assert re.match(r"\d+\. \S.{15,75}\n\n", script.text)
    assert re.search(r"^Source: .*\(\d{4}\)", script.text, re.MULTILINE | re.DOTALL)
    assert re.search(r"^Change one line: [A-Z]", script.text, re.MULTILINE)
    assert script.link[0].startswith(f"http://127.0.0.1:{PORT}/#{script.link[1]}")
    assert 2 <= script.minutes <= 8
    # What its text calls by a name in capitals, a reader can change.
    code = "\n".join(cell.code for cell in script.cells)
    change = script.text.partition("Change one line: ")[2].partition("\n\n")[0]
    for name in re.findall(r"\b[A-Z]{4,}\b", change):
        assert re.search(rf"^(?:\w+, )*{name}(?:, \w+)* =", code, re.MULTILINE), name


@each
def test_a_script_prints_draws_and_asks(
    script: Script, call: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_its_compiler(script)
    monkeypatch.chdir(tmp_path)
    status, said, complaint = call(script.path, "--out", "new/a.png")
    assert (status, complaint) == (0, "")
    assert said.isascii() and max(map(len, said.splitlines())) <= 79
    assert said.startswith(script.title + "\n\n")
    assert re.search(r"\n\nThe picture is new/a.png\n\nQuestion: .*\?\n$", said, re.DOTALL)
    assert [path.name for path in tmp_path.rglob("*.*")] == ["a.png"]
    with Image.open("new/a.png") as picture:
        assert 400 <= picture.width <= WIDTH + 32 and picture.height <= 2 * WIDTH


@each
def test_a_notebook_is_the_script_and_runs(
    script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    needs_its_compiler(script)
    made = json.loads(notebook(script))
    assert (made["nbformat"], made["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in made["cells"]}) == len(made["cells"])
    text, install, *cells = (("".join(cell["source"]), cell) for cell in made["cells"])
    assert install[1]["metadata"]["tags"] == [INSTALL]
    assert all(line.startswith("# ") for line in install[0].splitlines())  # installs nothing
    wheel = f"./tinyfcn-{tinyfcn.__version__}-py3-none-any.whl"
    assert fnmatch(wheel, install[0].partition("%pip install -q ")[2])
    again, names, title = f'"""{text[0].removeprefix("# ")}\n"""\n', {"__doc__": text[0]}, ""
    for source, cell in cells:
        if cell["cell_type"] == "markdown":
            title = " " + source.removeprefix("### ")
            continue
        assert cell["outputs"] == []
        exec(compile(source, script.path.name, "exec"), names)
        again, title = f"{again}\n# %%{title}\n{source}\n", ""
    assert again == re.sub(r"\n{3}# %%", "\n\n# %%", script.path.read_text("utf-8"))
    (picture,) = names["lesson"].pictures
    assert isinstance(picture, Image.Image)
    assert capsys.readouterr().out.count("Question: ") == 1


# ---- the command ----


def test_they_are_listed_in_order(lessons: Callable[..., Said]) -> None:
    status, said, complaint = lessons()
    assert (status, complaint) == (0, "")
    lines = said.splitlines()
    for script, line, link in zip(LESSONS, lines[::2], lines[1::2], strict=False):
        assert line.lstrip().startswith(f"{script.title} ({script.minutes} min")
        assert link.strip() == script.link[0]
    assert "min; tinyfcn puzzles, 1, 2, 19)" in lines[4]
    assert lines[-3].startswith(f"{sum(s.minutes for s in LESSONS)} minutes")


@pytest.mark.parametrize("word", ["2", "one_by_one", "02_one_by_one", "02_one_by_one.py"])
def test_one_is_run_by_number_or_name(lessons: Callable[..., Said], word: str) -> None:
    status, said, complaint = lessons(word)
    assert (status, complaint) == (0, "")
    assert said.startswith(LESSONS[1].title)
    assert os.listdir() == [] and "--out picture.png" in said


def test_a_picture_costs_no_file_of_another(lessons: Callable[..., Said]) -> None:
    Path("a.png").write_text("theirs")
    for _ in range(2):
        status, said, _ = lessons("2", "--out", "a.png")
        assert status == 0 and "The picture is a-2.png; a.png is taken" in said
    assert sorted(os.listdir()) == ["a-2.png", "a.png"]
    assert Path("a.png").read_text() == "theirs"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["99"], f"no lesson is called '99'; there are 1 to {len(LESSONS)}"),
        (["im2cal"], "no lesson is called 'im2cal'; did you mean im2col?"),
        (["2", "--out", "a.jpg"], "--out: expected a name that ends in .png, got 'a.jpg'"),
        (["2", "--uot", "a.png"], "unknown option --uot; did you mean --out?"),
        (["2", "3"], "one word too many, 3"),
        (["--pgae", "a.html"], "unknown option --pgae; did you mean --page?"),
        (["--copy", "file"], "file: file exists"),
        (["--copy", ""], "--copy: expected the name of a folder, got ''"),
        (["--page", "."], "--page: expected a name that ends in .html, got '.'"),
        (["--page", "file/a.html"], "file: file exists"),
        (["--package", "a.whl"], "--package is what notebooks install"),
        (["2", "--out", "file/a.png"], "file: "),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    lessons: Callable[..., Said], arguments: list[str], complaint: str
) -> None:
    Path("file").touch()
    status, _, said = lessons(*arguments)
    assert status == 2 and said.count("\n") == 1
    assert said.startswith("error: ") and complaint in said


@pytest.mark.parametrize(("option", "ending"), [("--copy", ".py"), ("--notebooks", ".ipynb")])
def test_files_that_a_reader_may_have_changed_stay(
    lessons: Callable[..., Said], option: str, ending: str
) -> None:
    assert lessons(option, "mine/new")[0] == 0
    names = [script.path.with_suffix(ending).name for script in LESSONS]
    assert sorted(path.name for path in Path().rglob("*.*")) == names
    changed, removed = Path("mine/new", names[0]), Path("mine/new", names[1])
    changed.write_text("mine")
    removed.unlink()
    status, said, _ = lessons(option, "mine/new")
    assert status == 0 and said.count("is there already, and stays as it is") == len(LESSONS) - 1
    assert changed.read_text() == "mine" and removed.exists()


def test_notebooks_install_what_is_asked_for(lessons: Callable[..., Said]) -> None:
    assert lessons("--notebooks", ".", "--package", "./a.whl")[0] == 0
    for path in Path().iterdir():
        assert "%pip install -q ./a.whl" in path.read_text("utf-8")
        assert path.stat().st_size < 20_000


def test_a_copy_runs_by_itself_and_says_what_is_wrong(lessons: Callable[..., Said]) -> None:
    lessons("--copy", "mine")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C", "PYTHONUTF8": "0"}
    for options, status, words in (
        (["--out", "a.png"], 0, "The picture is a.png"),
        (["--help"], 0, "#convolution?c=3"),
        (["--out", "a.png/b.png"], 2, "error: "),
        (["--out"], 2, "error: "),
    ):
        done = subprocess.run(
            [sys.executable, "mine/02_one_by_one.py", *options],
            capture_output=True, text=True, env=environment, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        assert words in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def test_the_page_has_every_lesson(
    lessons: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    some = [script for script in LESSONS if script.number in (2, 15)]
    monkeypatch.setattr("tinyfcn.cli.lessons.scripts", lambda folder: some)
    assert lessons("--page", "new/page.html")[0] == 0
    text = Path("new/page.html").read_text("utf-8")
    assert text.count("data:image/png;base64,") == text.count("<details>") == len(some)
    for script in some:
        assert f'<a href="#{script.path.stem}">{script.title}</a>' in text
        assert f'<h2 id="{script.path.stem}">' in text
        assert f'<a href="{html.escape(script.link[0])}">the {script.link[1]} room</a>' in text
        assert script.cells[0].code.splitlines()[0] in text
    assert "the 4 products: [-2. 25. -6.  0.]" in text  # what it prints when it is run
    assert "<pre>    y = A^T [(G g) * (B^T d)]</pre>" in text
    assert text.count("<b>Question: ") == len(some)
    assert "<code>tinyfcn explore</code> runs; tinyfcn puzzles, 12." in text
    assert lessons("--page", "new/page.html")[0] == 0
    assert os.listdir("new") == ["page.html"]  # which is the command's own


def test_without_a_compiler_the_page_says_so(
    lessons: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinyfcn.cli.lessons.scripts", lambda folder: LESSONS[-1:])
    monkeypatch.setattr("tinyfcn.backend.cuda.emulator.build.COMPILER", "no-such-compiler")
    monkeypatch.setenv("TINYFCN_CACHE", os.path.abspath("cache"))
    build.compiler_version.cache_clear()
    try:
        assert lessons("--page", "page.html")[0] == 0
    finally:
        build.compiler_version.cache_clear()
    assert "It cannot run here: " in Path("page.html").read_text("utf-8")
