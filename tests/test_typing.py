"""What a type checker knows of a user's program: ``py.typed`` promises that it is not ``Any``."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHAPE = "[tuple[Any, ...], dtype"
PAGE = ROOT / "tests" / "typing" / "user_page.txt"  # not .py: it is read by mypy, never run


def test_every_expression_of_a_users_program_has_its_type(tmp_path):
    program = tmp_path / "user_page.py"
    program.write_text(PAGE.read_text("utf-8"), "utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent"]
    command += ["--config-file=", "--no-error-summary", "--hide-error-context"]
    command += [f"--cache-dir={ROOT / '.mypy_cache' / 'user_page'}", str(program)]
    done = subprocess.run(
        command, env={**os.environ, "MYPYPATH": str(ROOT)}, cwd=tmp_path,
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert not done.stderr, done.stderr
    found = {}
    for line in done.stdout.splitlines():
        number, kind, text = re.match(r".*?:(\d+): (\w+): (.*)", line).groups()
        revealed = re.fullmatch(r'Revealed type is "(.*)"', text)
        if revealed:
            said = re.sub(r"\b(?:\w+\.)+(?=\w)", "", revealed[1])
            # The type of a shape in older NumPy is Any, then tuple[int, ...].
            found[int(number)] = re.sub(r"\[(Any|tuple\[int, \.\.\.\]), dtype", SHAPE, said)
        elif kind == "error":
            found[int(number)] = "error: " + re.search(r"\[([\w-]+)\]$", text)[1]
    expected = {
        number: line.split("  # ")[1]
        for number, line in enumerate(PAGE.read_text("utf-8").splitlines(), 1)
        if "  # " in line
    }
    assert found == expected
