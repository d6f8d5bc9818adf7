"""Short scripts to read, run and change, one for each idea.

Each prints its numbers, draws a picture, and ends in a question. The last two need g++, all others
nothing else. Without --out no picture is written. Files that are there already stay as they are.

tinyfcn lessons                             all of them, in the order of reading
tinyfcn lessons 3 --out im2col.png          run one, and write its picture
tinyfcn lessons --copy my_lessons           copy the scripts, to change them
tinyfcn lessons --notebooks my_notebooks    write them as notebooks for Jupyter or Colab
tinyfcn lessons --page lessons.html         run all, and write text, numbers, pictures on a page
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from tinyfcn.cli import load
from tinyfcn.cli.errors import UsageError
from tinyfcn.cli.parser import Parser, checked, did_you_mean
from tinyfcn.files import Outputs, write_bytes
from tinyfcn.lessons.course import MADE_BY, course
from tinyfcn.lessons.notebook import Script, notebook, scripts
from tinyfcn.puzzles.grade import PUZZLES


def main(arguments: Sequence[str]) -> None:
    """The command, called with its arguments."""
    known = scripts(folder())
    if arguments and not arguments[0].startswith("-"):
        script = find(known, arguments[0])
        sys.argv = [f"tinyfcn lessons {script.number}", *arguments[1:]]
        runpy.run_path(str(script.path), run_name="__main__")
        return
    parser = Parser(__doc__, prog="tinyfcn lessons")
    add = parser.add_argument
    parser.usage = "%(prog)s [LESSON [--out FILE]] [--copy FOLDER] [--notebooks FOLDER] [...]"
    place = checked(str, "the name of a folder", bool)
    page = checked(str, "a name that ends in .html", lambda text: text.endswith(".html"))
    add("--copy", type=place, metavar="FOLDER", help="copy the scripts there")
    add("--notebooks", type=place, metavar="FOLDER",
        help="write them there as notebooks, without results")  # fmt: skip
    add("--package", metavar="WHAT", default="",
        help="what a notebook's first cell installs by pip, such as git+https://... or a wheel; "
        "without it, nothing")  # fmt: skip
    add(
        "--page",
        type=page,
        metavar="FILE",
        help="write a page of all of them, which are run for it",
    )
    options = parser.parse(arguments)
    if options.package and not options.notebooks:
        raise UsageError("--package is what notebooks install: it takes --notebooks, too")
    if options.copy:
        write(options.copy, {s.path.name: s.path.read_text("utf-8") for s in known})
    if options.notebooks:
        made = {s.path.with_suffix(".ipynb").name: notebook(s, options.package) for s in known}
        write(options.notebooks, made)
    if options.page:
        Path(options.page).parent.mkdir(parents=True, exist_ok=True)  # or fail before they run
        text = course(known, tasks, lambda title: print(title, flush=True))
        path, note = Outputs([], MADE_BY).write(Path(options.page), text.encode())
        print(f"{path}{note}")
    if not (options.copy or options.notebooks or options.page):
        print(overview(known))


def folder() -> Path:
    """Where the scripts are."""
    return Path(load("tinyfcn.examples.lessons").__file__).parent


def find(known: Sequence[Script], word: str) -> Script:
    """The lesson of a number or a name, such as 3, 03_im2col or im2col.

    Raises:
        UsageError: if there is none; suggests the nearest.
    """
    names = {script.path.stem.partition("_")[2]: script for script in known}
    for name, script in names.items():
        if word in (str(script.number), name, script.path.stem, script.path.name):
            return script
    near = did_you_mean(word, names) or f"; there are 1 to {len(known)}"
    raise UsageError(f"no lesson is called {word!r}{near}")


def overview(known: Sequence[Script]) -> str:
    """The list of all, with what reading takes, and where the same can be tried and seen."""
    lines = []
    for script in known:
        number, _, title = script.title.partition(". ")
        lines += [f"{number:>2}. {title} ({script.minutes} min{tasks(script)})"]
        lines += [f"    {script.link[0]}"]
    total = sum(script.minutes for script in known)
    lines += ["", f"{total} minutes to read; tinyfcn lessons 1 runs the first."]
    lines += ["Links open while tinyfcn explore runs."]
    return "\n".join([*lines, "The answers are computed in tests/test_lesson_answers.py."])


def tasks(script: Script) -> str:
    """The puzzles that practise it."""
    numbers = [str(puzzle.number) for puzzle in PUZZLES if puzzle.lesson == script.number]
    return f"; tinyfcn puzzles, {', '.join(numbers)}" if numbers else ""


def write(folder: str, files: dict[str, str]) -> None:
    """Write files into a folder, but not over others: a reader may have changed them."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        if (place / name).exists():
            print(f"{place / name} is there already, and stays as it is")
        else:
            write_bytes(place / name, text.encode())
            print(place / name)
