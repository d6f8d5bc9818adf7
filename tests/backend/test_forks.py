"""The child of a fork computes as its parent does, whatever that was doing."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "forks.py"

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture(scope="module")
def report():
    """What became of each case, all in one process."""
    variables = {**os.environ, "TINYFCN_NUM_THREADS": "3"}
    command = [sys.executable, "-W", "ignore::DeprecationWarning", str(SCRIPT)]
    run = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("name", [case.__name__ for case in runpy.run_path(str(SCRIPT))["CASES"]])
def test_fork(name, report):
    assert report[name] == "right"
