"""Runs Python under mpiexec, for tests; where there is no MPI, ``needs_mpi`` says why they skip.

Nothing may be done in the process of the tests: an MPI that is loaded there would take part.
"""

import contextlib
import functools
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

VENDOR = (
    "import mpi4py; mpi4py.rc.initialize = False; import mpi4py.MPI as m; print(m.get_vendor())"
)


class Ended(NamedTuple):
    code: int
    stdout: str
    stderr: str
    seconds: float


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return done.stdout + done.stderr


@functools.cache
def _mpiexec() -> tuple[list[str], str]:
    """The command up to ``-n``, of the MPI that mpi4py finds; or why there is none."""
    if not importlib.util.find_spec("mpi4py"):
        return [], "mpi4py is not installed: pip install 'tinyfcn[mpi]'"
    vendor = _said(sys.executable, "-c", VENDOR)
    if not vendor.startswith("("):
        return [], f"mpi4py finds no MPI: {vendor.strip().splitlines()[-1]}"
    is_open = "Open MPI" in vendor
    beside = Path(sys.executable).parent / "mpiexec"
    names = [beside, "mpiexec", *(["mpiexec.openmpi"] if is_open else ["mpiexec.hydra"])]
    for path in filter(None, map(shutil.which, names)):
        said = _said(path, "--version")
        if is_open == ("Open MPI" in said or "OpenRTE" in said):
            return [path, *(["--allow-run-as-root", "--oversubscribe"] if is_open else [])], ""
    return [], f"no mpiexec of {vendor.strip()} was found"


def why_not() -> str:
    """Why ranks cannot be started here, "" if they can."""
    return _mpiexec()[1]


needs_mpi = pytest.mark.skipif(bool(why_not()), reason=why_not())


def start_ranks(
    n: int, arguments: Sequence[object], variables: Mapping[str, str] | None = None, cwd=None
) -> subprocess.Popen[str]:
    """Start ``python arguments…`` n times, with these environment variables besides."""
    return subprocess.Popen(
        [*_mpiexec()[0], "-n", str(n), sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **(variables or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # what is sent to our group, such as Ctrl-C, is not for it
    )


def wait_for(process: subprocess.Popen[str], timeout: float = 60) -> Ended:
    """Its end; after ``timeout`` seconds all of it is killed, and the test fails."""
    started = time.monotonic()
    try:
        out, err = process.communicate(timeout=timeout)
    except BaseException as error:
        tree = descendants(process.pid)
        process.kill()
        for pid in tree:
            _kill(pid)
        out, err = process.communicate()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        pytest.fail(f"still running after {timeout} s; stdout:\n{out}\nstderr:\n{err}")
    return Ended(process.returncode, out, err, time.monotonic() - started)


def run_ranks(
    n: int,
    arguments: Sequence[object],
    timeout: float = 60,
    variables: Mapping[str, str] | None = None,
    cwd=None,
) -> Ended:
    """Run ``python arguments…`` on n ranks; gives mpiexec's exit status, what they said, and how
    long it took."""
    return wait_for(start_ranks(n, arguments, variables, cwd), timeout)


def descendants(pid: int) -> list[int]:
    """All processes that a process started, itself or by others; nothing where there is no /proc.

    The ranks among them: those whose command line tells the script.
    """
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int(
                (folder / "stat").read_text().rpartition(")")[2].split()[1]
            )
        except (OSError, IndexError):  # it has just ended
            continue
    found = [pid]
    for parent in found:  # grows meanwhile
        found += [child for child, its in parents.items() if its == parent]
    return found[1:]


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
