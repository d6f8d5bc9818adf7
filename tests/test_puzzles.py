"""The puzzles: every stub fails, every solution passes, every text says what the engine says."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterable, Iterator

import numpy as np
import pytest

from tinyfcn.cli.lessons import folder
from tinyfcn.lessons.notebook import scripts
from tinyfcn.puzzles import limits, picture
from tinyfcn.puzzles.grade import PUZZLES, compare, grade
from tinyfcn.puzzles.puzzle import Array, Case, Puzzle, Wrong

LESSONS = [script.number for script in scripts(folder())]
EACH = pytest.mark.parametrize("puzzle", PUZZLES, ids=lambda p: p.stub.stem)


def ready(puzzle: Puzzle) -> Puzzle:
    if puzzle.is_kernel and not shutil.which("g++"):
        pytest.skip("needs g++")
    return puzzle


# ---- what each puzzle is made of ----


@EACH
def test_the_stub_fails(puzzle):
    with pytest.raises(Wrong):
        grade(ready(puzzle), puzzle.stub)


@EACH
def test_the_solution_passes(puzzle):
    grade(ready(puzzle), puzzle.solution)


# What each bug shows of itself: a part of what the check says.
SYMPTOMS = {
    23: r"4 of 4 numbers", 24: r"\*-0\.2119", 25: r"4 of 4 numbers", 26: r"3 of 6 numbers",
    27: r"^outside: .*reads x\[6\]", 28: r"^race: .*shared memory", 29: r"too dear: shared reads",
    30: r"case 3 of 4.*2\d\d\d",
}  # fmt: skip


@pytest.mark.parametrize("number", SYMPTOMS)
def test_each_bug_shows_itself(number):
    puzzle = ready(PUZZLES[number - 1])
    with pytest.raises(Wrong) as caught:
        grade(puzzle, puzzle.stub)
    said = str(caught.value)
    assert re.search(SYMPTOMS[number], said, re.MULTILINE | re.DOTALL), said


# A solution, spoiled: the number of the puzzle, what is replaced by what, what the check says.
SPOILED = [
    (1, "w + 2 * padding", "h + 2 * padding", "case 2 of 5.*ValueError"),
    (1, "np.empty((", "np.zeros((", None),
    (2, "+ bias[:, None, None]", "", "the example.*4 of 4"),
    (3, "gpadded[:, :, rows, cols] +=", "gpadded[:, :, rows, cols] =", "gx: "),
    (4, "part > y", "part >= y", "indices: "),
    (4, "-np.inf", "0", "y: "),
    (5, "w))", "h))", "case 2 of 4.*|IndexError"),
    (6, "width - padding", "width", "expected the shape"),
    (8, "scores - scores.max(1, keepdims=True)", "scores", r"case 4 of 5.*(nan|overflow)"),
    (8, "max(1, counts.sum())", "counts.size", "loss: "),
    (9, " - xhat * gweight[per_channel] / m", "", "gx: "),
    (10, "heapq.heappush(heap, child)", "heap.insert(0, child)", "case 3 of 5"),
    (10, "child not in seen", "child.inputs", "case 3 of 5|case 4 of 5"),
    (11, "(padding - middle)", "(middle - padding)", "offset: "),
    (12, "0, -1]]", "0, 1]]", "y: "),
    (13, "b;", "b + 1;", "6 of 6"),
    (14, "if (i < n) ", "", r"outside: .*14_guard_solution\.cu:7"),
    (15, "if (row >=", "if (row >", "outside|race"),
    (16, "    __syncthreads();\n", "", "race: |uninitialised: "),
    (16, "sum += tile[threadIdx.x + t];", "if (i + t > 2 && i + t - 3 < n) sum += x[i + t - 3];",
     "too dear: global reads, .* accesses"),
    (17, "        __syncthreads();\n", "", "race: |uninitialised: "),
    (18, "- largest", "", "nan|inf"),
    (18, "(int c = threadIdx.x; c < columns; c += 128)",
     "(int c = 0; c < columns && threadIdx.x == 0; c++)", "too dear: global reads, .* requests"),
    (20, "        __syncthreads();\n    }", "    }", "case 3 of 5.*race: "),
    (21, "value > best", "value >= best", "indices: "),
    (22, "top < 0 || top % S", "top % S", "outside|numbers"),
    (22, "top % S != 0 || ", "", "numbers are off"),
    (29, "y[row * H + column] = tile[t][r]", "y[column * H + row] = tile[r][t]", ""),
    (29, "tile[t][r];", "x[column * W + row];", "too dear: global reads, .* sectors"),
]  # fmt: skip


@pytest.mark.parametrize("number, old, new, said", SPOILED, ids=lambda value: str(value)[:24])
def test_a_spoiled_solution_fails(number, old, new, said, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "SECONDS", 1.0)
    puzzle = ready(PUZZLES[number - 1])
    text = puzzle.solution.read_text("ascii")
    assert old in text
    spoiled = tmp_path / puzzle.solution.name
    spoiled.write_text(text.replace(old, new), "ascii")
    if said is None:
        grade(puzzle, spoiled)  # another right answer
        return
    with pytest.raises(Wrong) as caught:
        grade(puzzle, spoiled)
    assert re.search(said, str(caught.value), re.DOTALL), str(caught.value)


# ---- what its text shows ----


def blocks(name: str, array: Array) -> Iterator[list[str]]:
    """Lines that show a small array: a heading and a plane, for each of its planes."""
    planes = np.atleast_2d(array)
    for index in np.ndindex(planes.shape[:-2]):
        place = str([*index]) if np.prod(planes.shape[:-2]) > 1 else f" {array.shape}"
        yield [name + place, *map(" ".join, picture.cells(planes[index]))]


def beside(parts: Iterable[list[str]], width: int) -> str:
    """Blocks of lines from left to right, and on below where a row is full."""
    rows: list[list[list[str]]] = [[]]
    for part in parts:
        wide = max(map(len, part))
        if rows[-1] and sum(len(block[0] + picture.GAP) for block in rows[-1]) + wide > width:
            rows.append([])
        rows[-1].append([line.ljust(wide) for line in part])
    texts = []
    for row in rows:
        height = max(map(len, row))
        filled = [block + [" " * len(block[0])] * (height - len(block)) for block in row]
        texts.append(
            "\n".join(picture.GAP.join(line).rstrip() for line in zip(*filled, strict=True))
        )
    return "\n\n".join(texts)


def example(case: Case, width: int = 72) -> str:
    """A case as it stands in the text of its puzzle."""
    arrays = {n: a for n, a in case.arguments.items() if isinstance(a, np.ndarray)}
    numbers = case._replace(arguments={n: a for n, a in case.arguments.items() if n not in arrays})
    shown = [b for n, a in [*arrays.items(), *case.expected.items()] for b in blocks(n, a)]
    head = textwrap.fill(f"Example{', ' * bool(str(numbers))}{numbers}:", width)
    return f"{head}\n\n{beside(shown, width)}"


def plain(text: str) -> str:
    """Without the marks of a comment."""
    return re.sub(r"^//(?: |$)", "", text, flags=re.MULTILINE)


@EACH
def test_the_text_has_the_numbers_of_the_engine(puzzle):
    wanted = example(puzzle.case(0))
    assert f"\n\n{wanted}\n\n" in plain(puzzle.stub.read_text("ascii")), f"write this:\n{wanted}"


@EACH
def test_the_text_is_complete(puzzle):
    text = plain(puzzle.stub.read_text("ascii"))
    assert f"{puzzle.number}. {puzzle.title}\n" in text
    assert "\nGraded: " in text
    assert "numpy" not in text or "Only NumPy may be used." in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80
    assert len(puzzle.title) <= 43  # so that a line of status has 80 columns
    assert len(puzzle.hints()) == 2
    assert "Lesson" not in text or puzzle.lesson in LESSONS
    assert max(map(len, puzzle.solution.read_text("ascii").splitlines())) <= 100


def test_there_are_thirty_in_three_ladders():
    assert [puzzle.number for puzzle in PUZZLES] == [*range(1, 31)]
    assert [sum(p.ladder == name for p in PUZZLES) for name in ("layers", "kernels", "bugs")] == [
        12, 10, 8,
    ]  # fmt: skip


# ---- what is compared ----


@pytest.mark.parametrize(
    "result, said",
    [
        (None, "got nothing yet"),
        (np.zeros((3, 2)), r"expected the shape \(2, 3\), got \(3, 2\)"),
        (np.zeros((2, 3), int), "expected numbers of type float64, got int64"),
        (np.zeros((2, 3), np.float32), "expected numbers of type float64, got float32"),
        ([[1, 2], [3]], "expected an array"),
        (np.full((2, 3), np.nan), r"6 of 6 numbers.*\*nan"),
        (np.full((2, 3), np.inf), r"6 of 6 numbers.*\*inf"),
        ([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0 + 1e-7]], r"1 of 6 numbers.* 5 .* \*5\.0000001"),
        ("text", "expected the shape"),
    ],
)
def test_what_is_wrong_with_a_result_is_said(result, said):
    with pytest.raises(Wrong) as caught:
        compare("y", np.arange(6.0).reshape(2, 3), result)
    assert re.search(said, str(caught.value), re.DOTALL), str(caught.value)


def test_a_number_may_be_a_whole_one():
    compare("loss", np.array(2.0), 2)


def test_a_picture_shows_the_first_mistake_of_a_large_array():
    expected = np.arange(2 * 3 * 50 * 60.0).reshape(2, 3, 50, 60)
    got = expected.copy()
    got[1, 2, 30, 40] = -1
    with pytest.raises(Wrong) as caught:
        compare("y", expected, got)
    said = str(caught.value)
    assert "[1, 2, 26:34, " in said and " *-1 " in said
    assert max(map(len, said.splitlines())) <= 80


@pytest.mark.parametrize("shape", [(), (1,), (0,), (2, 0), (5,)])
def test_arrays_of_any_shape_are_compared(shape):
    compare("y", np.ones(shape), np.ones(shape))
    if np.ones(shape).size:
        with pytest.raises(Wrong) as caught:
            compare("y", np.ones(shape), np.zeros(shape))
        head = {(): "expected y ", (1,): "expected y[0:1] ", (5,): "expected y[0:5] "}[shape]
        assert head in str(caught.value)
