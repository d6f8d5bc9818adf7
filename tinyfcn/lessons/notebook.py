"""A lesson as a script, as cells, and as a notebook: one text, so that they cannot differ.

A script is its docstring and cells of code, each behind a line ``# %% Title``, which editors know
as a cell, too. A notebook (nbformat 4.5) is JSON, and holds no results.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

LINK = re.compile(r"^Explorer: (\S+/#(\w+)\S*)$", re.MULTILINE)
INSTALL = "install"  # tag of the cell that is the notebook's alone
HOW = """# Not installed yet? A wheel that you uploaded, or git+https://... of the repository:
# %pip install -q ./tinyfcn-*.whl"""
# Of one minute, for the time that reading takes.
WORDS, LINES = 150, 15


class Cell(NamedTuple):
    """A title, which may be empty, and code."""

    title: str
    code: str


class Script(NamedTuple):
    """A lesson.

    Attributes:
        path: its file.
        text: the docstring: title, what it is about, source, link.
        cells: the code.

    Example:
        >>> script = parsed(Path("1_sums.py"), '\"\"\"1. Sums\"\"\"\\n\\n# %% One\\na = 1\\n')
        >>> script.title, script.cells
        ('1. Sums', (Cell(title='One', code='a = 1'),))
    """

    path: Path
    text: str
    cells: tuple[Cell, ...]

    @property
    def title(self) -> str:
        """Number and name: the first line."""
        return self.text.partition("\n")[0]

    @property
    def number(self) -> int:
        """Its place in the order of reading."""
        return int(self.title.partition(".")[0])

    @property
    def paragraphs(self) -> list[str]:
        """The text below the title, without the link."""
        return LINK.sub("", self.text).strip().split("\n\n")[1:]

    @property
    def link(self) -> tuple[str, str]:
        """Where the explorer shows the same while it runs, and in which room."""
        found = LINK.search(self.text)
        return (found[1], found[2]) if found else ("", "")

    @property
    def minutes(self) -> int:
        """What reading takes."""
        lines = sum(cell.code.count("\n") + 1 for cell in self.cells)
        return math.ceil(len(self.text.split()) / WORDS + lines / LINES)


def parsed(path: Path, source: str) -> Script:
    """The script of a file that holds ``source``."""
    tree = ast.parse(source)
    body = source.splitlines()[tree.body[0].end_lineno or 0 :]
    _, *parts = re.split(r"^# %%(.*)\n", "\n".join(body) + "\n", flags=re.MULTILINE)
    cells = zip(parts[::2], parts[1::2], strict=True)
    return Script(
        path, ast.get_docstring(tree) or "",
        tuple(Cell(title.strip(), code.strip("\n")) for title, code in cells),
    )  # fmt: skip


def scripts(folder: Path) -> list[Script]:
    """The lessons of a folder, in the order of reading."""
    paths = sorted(folder.glob("[0-9]*.py"))
    return [parsed(path, path.read_text("utf-8")) for path in paths]


def notebook(script: Script, package: str = "") -> str:
    """The lesson as the text of an .ipynb file.

    Its first code cell installs ``package``, what pip takes; without one, it says how. No name is
    guessed, as anybody could give it to a package.

    Example:
        >>> script = parsed(Path("1_sums.py"), '\"\"\"1. Sums\"\"\"\\n\\n# %% One\\na = 1\\n')
        >>> [cell["cell_type"] for cell in json.loads(notebook(script))["cells"]]
        ['markdown', 'code', 'markdown', 'code']
    """
    install = f"%pip install -q {package}" if package else HOW
    cells = [_cell("markdown", f"# {script.text}"), _cell("code", install)]
    cells[-1]["metadata"]["tags"] = [INSTALL]
    for title, code in script.cells:
        cells += [_cell("markdown", f"### {title}")] if title else []
        cells.append(_cell("code", code))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    about = {"kernelspec": kernel, "language_info": {"name": "python"}}
    whole = {"cells": cells, "metadata": about, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def _cell(kind: str, text: str) -> dict[str, Any]:
    code: dict[str, Any] = {"execution_count": None, "outputs": []} if kind == "code" else {}
    return {"cell_type": kind, "metadata": {}, "source": text.splitlines(keepends=True), **code}


def run(codes: Iterable[str], text: str, name: str = "<lesson>") -> dict[str, Any]:
    """Run cells one after the other; gives the names that they made."""
    names: dict[str, Any] = {"__name__": "lesson", "__doc__": text}
    for code in codes:
        exec(compile(code, name, "exec"), names)
    return names
