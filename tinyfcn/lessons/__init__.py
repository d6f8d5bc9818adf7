"""What the lessons share: options, pictures, notebooks, and a page of all.

The lessons themselves are the scripts in ``examples/lessons/``; ``tinyfcn lessons`` lists them.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from pathlib import Path
from types import TracebackType

from PIL import Image

from tinyfcn.cli.errors import plain_errors
from tinyfcn.cli.parser import Parser, checked
from tinyfcn.files import Outputs
from tinyfcn.lessons.draw import bars, grid, photo, plot, sheet
from tinyfcn.visualize import png

__all__ = ["Lesson", "bars", "grid", "photo", "plot", "sheet"]

MARK = "tinyfcn lessons"
png_name = checked(str, "a name that ends in .png", lambda text: text.lower().endswith(".png"))


class Lesson:
    """What a lesson has besides its numbers: options, a picture, and a question at its end.

    Run by itself, a lesson takes ``--out FILE`` for the picture, and writes nothing without it. As
    a notebook it takes no options: a cell that ends in ``show`` shows the picture.

    Args:
        text: the docstring of the script.

    Attributes:
        pictures: what was shown.
        question: what was asked.

    Example:
        >>> lesson = Lesson("1. Sums")
        >>> lesson.show(Image.new("RGB", (2, 1))).size
        (2, 1)
        >>> lesson.ask("What is 1 + 1?")
        <BLANKLINE>
        Question: What is 1 + 1?
    """

    def __init__(self, text: str | None) -> None:
        self.pictures: list[Image.Image] = []
        self.question = ""
        self.out: str | None = None
        main = sys.modules["__main__"]
        self.alone = bool(text) and main.__doc__ == text and hasattr(main, "__file__")
        if self.alone:
            parser = Parser(f"{text}\n\npython {sys.argv[0]} --out picture.png")
            add = parser.add_argument
            add("--out", type=png_name, metavar="FILE",
                help="write the picture there, as PNG; without it nothing is written")  # fmt: skip
            sys.excepthook = _plainly
            self.out = parser.parse(sys.argv[1:]).out
            print((text or "").strip().splitlines()[0], end="\n\n")

    def show(self, picture: Image.Image) -> Image.Image:
        """Write the picture where ``--out`` says, and give it, for a notebook to show."""
        self.pictures.append(picture)
        if self.out:
            path, note = Outputs([], MARK).write(Path(self.out), png(picture, MARK))
            print(f"\nThe picture is {path}{note}")
        elif self.alone:
            print("\nThere is a picture: --out picture.png")
        return picture

    def ask(self, question: str) -> None:
        """Print the question that the lesson ends in."""
        self.question = f"Question: {' '.join(question.split())}"
        width = min(79, shutil.get_terminal_size().columns - 1) if self.alone else 79
        print(f"\n{textwrap.fill(self.question, max(30, width))}")


def _plainly(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say what a user can put right in one line; defects keep their traceback."""
    try:
        with plain_errors():
            raise error.with_traceback(trace)
    except SystemExit:
        raise
    except BaseException:
        sys.__excepthook__(kind, error.with_traceback(trace), trace)
