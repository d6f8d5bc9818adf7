"""One process trains in a folder; who has died holds nothing."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tinyfcn import cli
from tinyfcn.training import lock
from tinyfcn.training.errors import FolderInUse
from tinyfcn.training.lock import locked

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import os, sys
from pathlib import Path
from tinyfcn.training.lock import locked
with locked(Path(sys.argv[1])):
    if os.fork() == 0:
        print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def another(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.communicate()


def test_the_second_says_who_is_there_and_death_frees(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.lock"
    with another(path) as process:
        expected = rf"{tmp_path} is in use by process {process.pid} on \S+ since \d{{4}}-"
        with pytest.raises(FolderInUse, match=expected), locked(path):
            pass
        command = ["train", "--scenes", "4", "--iterations", "1", "--out", str(tmp_path)]
        for found in [], ["config.json"], ["best.npz"], ["last.npz"]:
            for name in found:
                (tmp_path / name).write_bytes(b"")
            with pytest.raises(SystemExit) as exit:
                cli.main(command)
            assert exit.value.code == 2
            said = capsys.readouterr().err
            assert f"in use by process {process.pid} on " in said and "another --out" in said
            assert sorted(os.listdir(tmp_path)) == sorted([*found, "run.lock"])
            for name in found:
                (tmp_path / name).unlink()
        process.send_signal(signal.SIGKILL)
        process.wait()
        with locked(path):  # though the child that it has forked lives on
            assert f"process {os.getpid()} on " in path.read_text()


def _pool(path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    process.start()
    processes.append(process)


def _child_that_leaves(path: Path) -> None:
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException), locked(path):
            os._exit(1)  # the parent holds it
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


processes: list[multiprocessing.process.BaseProcess] = []


def test_who_has_just_begun_is_waited_for_until_it_says_who(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    with open(path, "w") as file:
        lock.fcntl.flock(file, lock.fcntl.LOCK_EX)
        threading.Timer(0.3, path.write_text, ["process 7 on another"]).start()
        with pytest.raises(FolderInUse, match="in use by process 7 on another"), locked(path):
            pass


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("fork", [_pool, _child_that_leaves])
def test_a_forked_child_does_not_keep_it(tmp_path: Path, fork: Callable[[Path], None]) -> None:
    path = tmp_path / "run.lock"
    with locked(path):
        fork(path)
        with pytest.raises(FolderInUse), locked(path):
            pass
    with locked(path):  # though the child lives on
        pass
    while processes:
        process = processes.pop()
        process.terminate()
        process.join()


def test_a_child_that_leaves_the_block_frees_nothing(tmp_path: Path) -> None:
    path, parent = tmp_path / "run.lock", os.getpid()
    with contextlib.suppress(ZeroDivisionError), locked(path):
        child = os.fork()
        if child == 0:
            raise ZeroDivisionError
        assert os.waitpid(child, 0)[1] == 0
        with pytest.raises(FolderInUse), locked(path):
            pass
    if os.getpid() != parent:
        os._exit(0)


@pytest.mark.parametrize("kind", ["no module", "no locks on this disk", "left by a dead run"])
def test_where_there_is_no_lock_a_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = tmp_path / "run.lock"
    if kind == "no module":
        monkeypatch.setattr(lock, "fcntl", None)
    elif kind == "no locks on this disk":

        def unknown(*arguments: int) -> None:
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(lock.fcntl, "flock", unknown)
    else:
        path.write_text("process 1 on another since long" * 9)
    with locked(path):
        assert path.read_text().startswith(f"process {os.getpid()} on ")
        assert path.read_text().count("since") == 1
