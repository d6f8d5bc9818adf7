"""Imports go downwards only: nothing knows of what is built on it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "tinyfcn"

# From the top; what stands on one line may know of each other.
ORDER = [
    {"cli", "doctor", "examples", "lessons"},
    {"benchmark", "explorer", "kernel_lab", "puzzles"},
    {"training"},
    {"parallel"},
    {"data", "weights", "onnx", "metrics", "visualize"},
    {"models", "summary", "multiply_adds", "receptive_field", "receptive_field_rules"},
    {"anomaly", "nn", "optim", "gradcheck", "without_values"},
    {"functional"},
    {"function", "tensor", "graph"},
    {"backend"},
    {"decorating", "kernels", "random", "files", "page", "starting"},
]
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}

# The methods of a tensor are ops, and an op makes tensors: no order could hold both.
CIRCLE = ("tensor.py", "functional")


def parts(path: Path) -> str:
    """The part of the house that a file belongs to; ``__main__.py`` is a command line."""
    return "cli" if path.name == "__main__.py" else path.relative_to(PACKAGE).parts[0].split(".")[0]


def facade() -> dict[str, str]:
    """Where the names come from that stand in ``tinyfcn/__init__.py``."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))
    return {
        alias.name: alias.name if node.module == "tinyfcn" else str(node.module).split(".")[1]
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and part of every import of a file, also inside functions, and of ``tinyfcn.name``.

    What is imported for mypy alone does not count: it names a type, and no code runs.
    """
    homes = facade()
    tree = ast.parse(path.read_text("utf-8"))
    for block in [node for node in ast.walk(tree) if isinstance(node, ast.If)]:
        if isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING":
            block.body.clear()
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "tinyfcn":
            names = [f"tinyfcn.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [str(node.module)]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names = [f"{node.value.id}.{node.attr}"]
        for name in names:
            root, _, rest = name.partition(".")
            part = homes.get(rest.split(".")[0], rest.split(".")[0])
            if root == "tinyfcn" and part in LEVEL:
                yield node.lineno, part


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def test_every_part_has_its_place() -> None:
    found = {parts(path) for path in FILES}
    assert found <= LEVEL.keys(), "give it a place in ORDER"
    assert set(facade().values()) <= LEVEL.keys()


def test_imports_go_downwards() -> None:
    wrong = [
        f"tinyfcn/{path.relative_to(PACKAGE)}:{line} imports {part}, which stands above it"
        for path in FILES
        for line, part in imports(path)
        if LEVEL[part] < LEVEL[parts(path)] and (path.name, part) != CIRCLE
    ]
    assert not wrong, "\n".join(wrong)


# What stands behind -- in other programs' options, or in files that are written.
OTHERS = ("backend/cuda/", "training/run_folder.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_messages_of_the_library_speak_of_no_option(path: Path) -> None:
    """What an option is called, the command line alone knows; docstrings may tell."""
    name = path.relative_to(PACKAGE).as_posix()
    if parts(path) in ORDER[0] or name.startswith(OTHERS):
        return
    tree = ast.parse(path.read_text("utf-8"))
    documents = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or id(node) in documents:
            continue
        found = re.search(r"(?<![\w-])--[a-z][\w-]*", str(node.value))
        assert not found, f"tinyfcn/{name}:{node.lineno} speaks of {found.group()}"
