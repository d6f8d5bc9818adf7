"""The drills in short: that they run, and that they notice what goes wrong."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import chains
import drilling
import fork
import fuzz
import numpy as np
import pytest
import ranks
import tiny_run
from inputs import Kind
from mpiexec import needs_mpi

from tinyfcn.data import DataError

SHORT = """
import fault, fork, fuzz, kill
status = kill.main("--kills 2 --signals 0 --jobs 1".split())
status |= fault.main("--only terminal".split())
status |= fuzz.main("--inputs 100".split())
status |= fork.main("--tries 1 --only learn".split())
raise SystemExit(status)
"""


def test_short_drills_hold() -> None:
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", SHORT],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    last = [line for line in done.stdout.splitlines() if ": tries " in line]
    assert [line.partition(":")[0] for line in last] == ["kill", "fault", "fuzz", "fork"]
    assert all("failed 0," in line for line in last)


@needs_mpi
def test_the_short_drill_of_ranks_holds() -> None:
    script = Path(ranks.__file__)
    command = [sys.executable, script, "--kills", "2", "--signals", "0", "--jobs", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.startswith("ranks: tries ") and "failed 0," in last and "tries 0," not in last


@needs_mpi
def test_the_drill_of_ranks_sees_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_run, "PATIENCE", 0.2)
    monkeypatch.setattr(ranks, "PROGRAM", "import time; time.sleep(60)")
    ended = ranks.run(2, [], after=0.5)
    assert chains.wrong("KILL", ended, tmp_path) == ["no end 0.2 s after the blow"]

    # What ends at once, and has learnt nothing.
    monkeypatch.setattr(ranks, "PROGRAM", "import os, sys; os.makedirs(sys.argv[5], exist_ok=True)")
    right = {variant: {"files": [], "predictions.png": b""} for variant in ranks.VARIANTS}
    straight = ranks.Straight(right, dict.fromkeys(ranks.RANKS, 60.0))
    chain = ranks.run_chain("KILL", 0, 0, tmp_path, straight)
    assert chain.tries == 0 and "files differs" in chain.problems[0]


def test_where_there_is_no_mpi_the_drill_of_ranks_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mpiexec.why_not", lambda: "mpi4py is not installed")
    assert ranks.main([]) == 0
    assert capsys.readouterr().out == "ranks: skipped, there is no MPI: mpi4py is not installed\n"


def test_a_forked_job_that_fails_dies_or_hangs() -> None:
    assert drilling.forked(lambda: 6 * 7).value == 42
    assert "ZeroDivisionError" in drilling.forked(lambda: 1 // 0).problem
    assert drilling.forked(lambda: os.kill(os.getpid(), signal.SIGKILL)).problem.endswith("SIGKILL")
    assert "no end after" in drilling.forked(lambda: time.sleep(60), limit=0.1).problem


def test_the_summary_tells_failures(capsys: pytest.CaptureFixture[str]) -> None:
    assert drilling.summary("drill", 3, ["one"], time.monotonic()) == 1
    assert drilling.summary("drill", 3, [], time.monotonic()) == 0
    said = capsys.readouterr().out
    assert "FAILED one\ndrill: tries 3, held 2, failed 1" in said


def test_a_chain_sees_what_is_wrong(tmp_path: Path) -> None:
    right = tiny_run.Ended(143, "stopped by SIGTERM: iteration 0 of 12 is saved", 1.0, 0.1)
    assert chains.wrong("TERM", right, tmp_path) == []
    for change in (
        {"code": None},
        {"code": 1},
        {"output": "Traceback (most recent call last):\nKeyError"},
        {"output": "iteration 5 of 12 is saved"},
    ):
        assert len(chains.wrong("TERM", right._replace(**change), tmp_path)) == 1


def test_runs_that_differ_in_a_bit_differ() -> None:
    one = {"files": ["a"], "last.npz": tiny_run._plain({"w": np.zeros(3), "seconds": 1.0})}
    assert tiny_run.differences(one, {**one}) == ""
    other = tiny_run._plain({"w": np.array([0.0, -0.0, 0.0]), "seconds": 2.0})
    assert tiny_run.differences(one, {**one, "last.npz": other}) == "last.npz differs"
    assert "files differs" in tiny_run.differences(one, {**one, "files": ["a", "b"]})


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("read", "problem"),
    [
        (lambda path: None, ""),
        (lambda path: _raise(DataError("no")), ""),
        (lambda path: sys.exit(2), ""),
        (lambda path: sys.exit(1), "status 1"),
        (lambda path: _raise(KeyError("x")), "KeyError"),
        (lambda path: np.ones(1 << 28), "MemoryError"),
        (lambda path: time.sleep(60), "SIGALRM"),
        (lambda path: os.kill(os.getpid(), signal.SIGKILL), "SIGKILL"),
    ],
)
def test_the_fuzzer_sees_what_a_reader_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Any, problem: str
) -> None:
    monkeypatch.setattr(fuzz, "SECONDS", 0.2)
    path = tmp_path / "file"
    path.write_bytes(b"x")
    ended = drilling.forked(lambda: fuzz.attempt(read, path, show=False))
    found = ended.problem or ended.value[1]
    assert problem in found and bool(found) == bool(problem)


def test_a_seed_gives_the_same_inputs_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzz, "BLOCK", 20)
    (tmp_path / "place").mkdir()
    seen = tmp_path / "seen"

    def keep(path: Path) -> None:
        with open(seen, "ab") as file:
            file.write(path.read_bytes() + b"\n")

    found = []
    for seed in (0, 0, 1):
        seen.write_bytes(b"")
        trial = fuzz.Trial({"text": Kind([b"once upon a time"], [keep])}, tmp_path, seed)
        assert len(fuzz.run_block(trial, 3)) == fuzz.BLOCK
        found.append(seen.read_bytes())
    assert found[0] == found[1] != found[2]


def test_the_drill_of_forks_sees_other_bits_and_leaks() -> None:
    kept: list[Any] = []

    def leaking() -> str:
        kept.append(mmap.mmap(-1, 1 << 24))  # not from memory that was freed before
        kept[-1].write(b"x" * (1 << 24))
        return "a"

    assert fork.same(lambda: "a", 3, "a") == ""
    assert fork.same(lambda: "b", 3, "a") == "other bits in 3 of 3 calls"
    assert fork.same(leaking, 3, "a").endswith("MB kept after 3 calls")
