"""How much there is to read, and how few files one thing takes: figures that must not grow back."""

import ast
import io
import sys
import tokenize
from pathlib import Path

import numpy as np
import pytest

import tinyfcn.functional as F
from tinyfcn import backend, tensor

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "tinyfcn"
# What an afternoon's reader has to know: tensors, the graph, ops, layers, optimizers, and what a
# backend has to offer, in plain code.
CORE = [
    *(PACKAGE / name for name in ("tensor.py", "function.py", "graph.py", "random.py")),
    *(path for name in ("functional", "nn", "optim") for path in (PACKAGE / name).rglob("*.py")),
    *(PACKAGE / "backend" / f"{n}.py" for n in ["__init__", "base", "steps", "splitmix", "errors"]),
]
CORE_LINES = 3367
ALL_LINES = 24866
FILE_LINES = 400


def lines_of_code(path: Path) -> int:
    """Lines that hold more than a comment or a docstring."""
    text = path.read_text(encoding="utf-8")
    kept = set()
    space = {"COMMENT", "NL", "NEWLINE", "INDENT", "DEDENT", "ENDMARKER"}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if tokenize.tok_name[token.type] not in space:
            kept.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            docstring = node.body[0]
            kept.difference_update(range(docstring.lineno, docstring.end_lineno + 1))
    return len(kept)


def test_the_counter_counts(tmp_path):
    file = tmp_path / "file.py"
    file.write_text(
        '"""Doc\n\nstring."""\n\n# note\nx = """a\nb"""  # 2\n\n\ndef f():\n    """Doc."""\n'
    )
    assert lines_of_code(file) == 3


def test_the_core_stays_small(record_property):
    total = sum(lines_of_code(path) for path in CORE)
    record_property("lines of code of the core", total)
    assert total <= CORE_LINES, f"{total} lines of code in the core; simplify before you add"


def test_all_of_it_stays_small(record_property):
    paths = [path for top in ("tinyfcn", "examples") for path in (ROOT / top).rglob("*.py")]
    total = sum(lines_of_code(path) for path in paths)
    record_property("lines of code of tinyfcn and examples", total)
    assert total <= ALL_LINES, f"{total} lines of code in tinyfcn and examples"


@pytest.mark.parametrize("top", ["tinyfcn", "examples", "kernels", "tests", ".ci"])
def test_no_file_is_long(top):
    endings = (".py", ".cu", ".cuh", ".h", ".cpp", ".md", ".js", "")
    files = [p for p in (ROOT / top).rglob("*") if p.is_file() and p.suffix in endings]
    long = {
        str(path.relative_to(ROOT)): count
        for path in files
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > FILE_LINES
    }
    assert not long, f"more than {FILE_LINES} lines: {long}"


def test_the_backward_pass_of_conv_transpose2d_goes_through_six_files():
    rng = np.random.default_rng(0)
    used = set()

    def watch(frame, event, _):
        path = Path(frame.f_code.co_filename)
        if event == "call" and PACKAGE in path.parents:
            used.add(str(path.relative_to(PACKAGE)))

    with backend.using("reference"):
        x, weight, bias = (
            tensor(rng.standard_normal(shape), requires_grad=True)
            for shape in ((1, 3, 4, 4), (3, 2, 3, 3), (2,))
        )
        y = F.conv_transpose2d(x, weight, bias, stride=2, padding=1, output_padding=1)
        sys.setprofile(watch)
        try:
            y.backward(np.ones(y.shape))
        finally:
            sys.setprofile(None)
    assert x.grad is not None and weight.grad is not None and bias.grad is not None
    assert sorted(used) == [
        "backend/__init__.py", "backend/base.py", "function.py", "functional/conv.py", "graph.py",
        "tensor.py",
    ]  # fmt: skip
