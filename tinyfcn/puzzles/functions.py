"""What a reader's Python file answers."""

from __future__ import annotations

import ast
import copy
import sys
from pathlib import Path
from typing import Any

from tinyfcn.puzzles.limits import within
from tinyfcn.puzzles.puzzle import Case, Puzzle, Wrong

ALLOWED = {"numpy", *sys.stdlib_module_names}


def answers(puzzle: Puzzle, path: Path, case: Case) -> list[Any]:
    """Run the file and call its function: the results of a case, in order.

    Raises:
        Wrong: if that fails, or the file imports more than NumPy and Python's own modules.
    """
    defined: dict[str, Any] = {"__name__": path.stem}
    within(path, lambda: exec(_compiled(path), defined))
    for name in puzzle.names:
        if name not in defined:
            raise Wrong(f"{path.name} does not define {name}")
    function = puzzle.call(*(defined[name] for name in puzzle.names))
    arguments = copy.deepcopy([*case.arguments.values()])
    results = within(path, lambda: function(*arguments))
    wanted = len(case.expected)
    if results is None or (wanted == 1 and not isinstance(results, tuple)):
        return [results] * wanted
    if not isinstance(results, tuple) or len(results) != wanted:
        came = f"{len(results)} results" if isinstance(results, tuple) else type(results).__name__
        raise Wrong(f"expected {' and '.join(case.expected)}, got {came}")
    return [*results]


def _compiled(path: Path) -> Any:
    tree = ast.parse(path.read_bytes(), str(path))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            origin = getattr(node, "module", None) or node.names[0].name
            if origin.partition(".")[0] not in ALLOWED:
                rule = "only NumPy and Python's own modules may be used"
                raise Wrong(f"{path.name}:{node.lineno}: imports {origin}, but {rule}")
    return compile(tree, str(path), "exec")
