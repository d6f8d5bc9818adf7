"""What all tests share: the hypothesis profile, a fresh random state for each test, and scripts."""

import runpy
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings

import tinyfcn

# derandomize: the same examples in every run, so that what was red once is red again.
settings.register_profile(
    "tinyfcn",
    deadline=None,
    max_examples=40,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
# Where it only matters that a test fails, not by how small an example.
settings.register_profile(
    "first failure",
    settings.get_profile("tinyfcn"),
    phases=(Phase.explicit, Phase.generate),
)
settings.load_profile("tinyfcn")


@pytest.fixture(autouse=True)
def _same_random_numbers_for_every_test():
    tinyfcn.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_is_heard():
    """Also behind a shell's &, where SIGINT is ignored: here, and by what tests start."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run a script in this process; gives its exit status and what it said."""

    def run(script: Path, *arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [str(script), *map(str, arguments)])
        status = 0
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 0
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def pytest_terminal_summary(terminalreporter):
    """The figures that tests recorded, such as how many lines of code there are."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")
