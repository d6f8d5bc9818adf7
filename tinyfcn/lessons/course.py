"""All lessons on one page: text, numbers, picture and code of each."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence

from tinyfcn.backend.errors import BackendError
from tinyfcn.lessons.notebook import Script, run
from tinyfcn.page import Element, element, joined, page, picture, table

MADE_BY = "made by tinyfcn lessons"


def course(
    scripts: Sequence[Script], tasks: Callable[[Script], str], say: Callable[[str], object]
) -> str:
    """The page, with what the lessons print and draw when they are run now.

    Args:
        scripts: the lessons.
        tasks: names the puzzles of a lesson.
        say: is told the title of each before it runs.
    """
    sections = []
    for script in scripts:
        say(script.title)
        sections.append(_section(script, tasks(script)))
    rows = [
        [element("a", script.title, href=f"#{script.path.stem}"), f"{script.minutes} min"]
        for script in scripts
    ]
    total = sum(script.minutes for script in scripts)
    return page(
        "Lessons",
        element("p", "One idea each, in the order of reading. Every number comes from the engine."),
        table(["lesson", "to read"], [*rows, ["all", f"{total} min"]]),
        *sections,
        element("p", "To change a line: ", element("code", "tinyfcn lessons --copy FOLDER"),
                ". The answers are computed in ",
                element("code", "tests/test_lesson_answers.py"), f". This page was {MADE_BY}."),
    )  # fmt: skip


def _section(script: Script, tasks: str) -> Element:
    """One lesson."""
    said, shown, question = io.StringIO(), [], ""
    try:
        with contextlib.redirect_stdout(said):
            lesson = run((cell.code for cell in script.cells), script.text)["lesson"]
        question = lesson.question
        images = (image.quantize(128) for image in lesson.pictures)  # a third of the bytes
        shown = [picture(image, f"picture of lesson {script.title}") for image in images]
    except BackendError as missing:  # no compiler for the emulator
        print(f"It cannot run here: {missing}", file=said)
    numbers = said.getvalue().partition("\nQuestion: ")[0].strip()
    code = "\n\n".join(f"# %% {cell.title}".rstrip() + f"\n{cell.code}" for cell in script.cells)
    link, room = script.link
    return joined(
        element("h2", script.title, id=script.path.stem),
        *(element("pre" if text.startswith("    ") else "p", text) for text in script.paragraphs),
        element("div", *shown, element("pre", numbers), class_="lesson"),
        *([element("p", element("b", question))] if question else []),
        element("p", "See also: ", element("a", f"the {room} room", href=link), ", while ",
                element("code", "tinyfcn explore"), f" runs{tasks}."),
        element("details", element("summary", f"The code: {script.path.name}"),
                element("pre", code)),
    )  # fmt: skip
