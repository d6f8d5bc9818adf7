"""A training that takes half a second: started in a forked process, disturbed, compared.

The processes are forked from one that has imported everything, so a start costs nothing. Each runs
the command line, ``tinyfcn train``, in its own process group.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import math
import mmap
import os
import re
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import drilling
import numpy as np
from PIL import Image

from tinyfcn import cli, visualize
from tinyfcn.data import write_voc_tree
from tinyfcn.training import checkpoint, datasets, saver
from tinyfcn.training import run as run_module
from tinyfcn.training.run_folder import RunFolder

page = cli.load("tinyfcn.examples.train_voc")

ROOT = Path(__file__).resolve().parents[2]
EPOCHS = 3
BLOWS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
PATIENCE = 10.0  # seconds that a process may take to end, once it was told to
OPTIONS = {
    "one batch a step": ("--workers", "2"),
    "two batches a step": ("--accumulate", "2", "--workers", "0"),
    "drawn scenes": ("--scenes", "8", "--workers", "1"),
}


class Ended(NamedTuple):
    """How a process ended.

    Attributes:
        code: its exit status, or minus the signal that ended it; None if it had to be killed.
        output: stdout and stderr.
        seconds: from its start to its end.
        late: from the blow to its end.
    """

    code: int | None
    output: str
    seconds: float
    late: float

    @property
    def last_line(self) -> str:
        return ([line for line in self.output.splitlines() if line.strip()] or [""])[-1].strip()


def write_data(folder: Path) -> Path:
    """Eight training and three validation scenes of 32 × 32."""
    return write_voc_tree(folder, train=8, val=3, size=32, diameter=(16.0, 28.0))


def arguments(data: Path, out: Path, variant: str = "one batch a step") -> list[str]:
    """What stands behind ``tinyfcn`` on the command line."""
    where = () if variant == "drawn scenes" else ("--data-root", str(data))
    size = ("--width", "0.016", "--crop", "24", "--batch-size", "2", "--epochs", str(EPOCHS))
    # With these the best epoch is not the first.
    learning = ("--lr", "0.1", "--warmup", "0", "--class-weights", "median-frequency")
    means = ("--ema", "0.9", "--clip-norm", "1", "--loss", "ce+dice", "--patience", "9")
    return ["train", *where, "--out", str(out), *size, *learning, *means, *OPTIONS[variant]]


class Process:
    """``tinyfcn`` with some arguments, in a process group of its own; what it says goes to a pipe.

    Args:
        command: the arguments.
        prepare: called in the process before anything else.
        real: start a new Python, as a shell does, instead of a fork; ``prepare`` is not called.
    """

    def __init__(
        self, command: list[str], prepare: Callable[[], None] = lambda: None, real: bool = False
    ) -> None:
        self.reader, write = os.pipe()
        self.reading = True
        self.begun = time.monotonic()
        # A signal must not meet the child before it is ready, and still its parent in all but name.
        signal.pthread_sigmask(signal.SIG_BLOCK, BLOWS)
        if real:
            self.pid = os.posix_spawn(
                sys.executable, [sys.executable, "-m", "tinyfcn", *command],
                {**os.environ, "PYTHONPATH": str(ROOT)}, setpgroup=0, setsigmask=[],
                setsigdef=BLOWS,
                file_actions=[(os.POSIX_SPAWN_DUP2, write, 1), (os.POSIX_SPAWN_DUP2, write, 2)],
            )  # fmt: skip
        else:
            self.pid = drilling.fork() or self._child(command, write, prepare)
            with contextlib.suppress(ProcessLookupError):
                os.setpgid(self.pid, self.pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOWS)
        os.close(write)

    def _child(self, command: list[str], output: int, prepare: Callable[[], None]) -> NoReturn:
        status: Any = 1
        with contextlib.suppress(BaseException):  # the child must never go on as its parent
            try:
                os.close(self.reader)
                os.dup2(output, 1)
                os.dup2(output, 2)
                sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
                sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
                signal.signal(signal.SIGINT, signal.default_int_handler)
                signal.signal(signal.SIGHUP, signal.SIG_DFL)  # even under nohup
                signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOWS)
                prepare()
                status = cli.main(command)
                sys.stdout.flush()
            except KeyboardInterrupt:  # before the command line was there to say so
                status = 130
            except SystemExit as stop:
                status = stop.code
            except BaseException:
                traceback.print_exc()
        os._exit(status if isinstance(status, int) else 1)

    def close_pipe(self) -> None:
        """Nobody reads on, as when ``tee`` has ended."""
        self.reading = False
        os.close(self.reader)

    def wait(self, blow: Callable[[], None] | None = None, after: float = 0.0) -> Ended:
        """Read what it says until it ends; call ``blow()`` once, after so many seconds, and kill it
        if it has not ended ``PATIENCE`` later, or after a minute where there is no blow."""
        process = os.pidfd_open(self.pid)
        struck, limit = self.begun, self.begun + (after if blow else 60.0)
        said, hangs = b"", False
        while True:
            sources = [process, self.reader] if self.reading else [process]
            ready = select.select(sources, [], [], max(0.0, limit - time.monotonic()))[0]
            if self.reader in ready and self.reading:
                part = os.read(self.reader, 1 << 16)
                said += part
                if not part:
                    self.close_pipe()
            elif ready:
                break
            elif blow is not None:
                struck, limit = time.monotonic(), time.monotonic() + PATIENCE
                blow()
                blow = None
            else:
                hangs = True
                os.killpg(self.pid, signal.SIGKILL)
                break
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        ended = time.monotonic()
        os.close(process)
        if self.reading:
            self.close_pipe()
        text = said.decode(errors="replace").replace("\r", "\n")
        return Ended(None if hangs else code, text, ended - self.begun, ended - struck)


def undisturbed(command: list[str], prepare: Callable[[], None] = lambda: None) -> Ended:
    """Run it to its end, which must be a good one."""
    ended = Process(command, prepare).wait()
    if ended.code != 0:
        raise RuntimeError(f"the undisturbed run ended with {ended.code}:\n{ended.output}")
    return ended


class FileOperations:
    """Counts the file operations of forked processes: writes, syncs, renames, removals, folders.

    Attributes:
        done: how many there were since :meth:`watch` was called, in any process.
    """

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 8)

    @property
    def done(self) -> int:
        return int.from_bytes(self._shared[:8], "little")

    def watch(self, act: Callable[[int, str, str], None] = lambda *operation: None) -> None:
        """From now on call ``act(number, operation, path)`` before each of this process."""
        self._shared[:8] = bytes(8)

        def counted(call: Any, name_of: Callable[[Any], Any]) -> Any:
            def counting(first: Any, *rest: Any, **more: Any) -> Any:
                self._shared[:8] = (self.done + 1).to_bytes(8, "little")
                act(self.done, call.__name__, str(name_of(first)))
                return call(first, *rest, **more)

            return counting

        for name in ("fsync", "replace", "rename", "unlink", "mkdir"):
            setattr(os, name, counted(getattr(os, name), lambda first: first))

        class Counted(io.FileIO):
            write = counted(io.FileIO.write, lambda file: file.name)

        opened = open

        def open_counted(file: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
            if mode in ("wb", "xb") and "opener" not in more:
                return io.BufferedWriter(Counted(file, mode.replace("b", "")))
            return opened(file, mode, *rest, **more)

        builtins.open = io.open = open_counted  # type: ignore[assignment]


def quickly(curves: bool = True, save: bool = True) -> None:
    """Score three scenes where they are drawn; perhaps draw no curves, save after each step."""
    if save:
        run_module.SAVE_EVERY, saver.SHARE = 0.0, math.inf
    datasets.SCENES_TO_SCORE = 3
    if not curves:
        visualize.plot_curves = lambda rows: [Image.new("L", (1, 1))] * 2


# ---- what a run leaves ----


def contents(folder: Path) -> dict[str, Any]:
    """What must be the same after a disturbed run: weights and all state, the log, the names of
    the files, the picture of predictions. Left out are times, places, which checkpoint was the one
    before the last, and what a run has set aside because others had changed it."""
    names = sorted(path.name for path in folder.iterdir())
    left_out = re.compile(r"previous\.npz|(log|last)-\d+\.\w+|rank-\d+\.log")
    found: dict[str, Any] = {"files": [name for name in names if not left_out.fullmatch(name)]}
    for name in ("last.npz", "best.npz"):
        if name in names:
            found[name] = _plain(checkpoint.load(folder / name))
    found["log.csv"] = [_plain(row) for row in RunFolder(folder).read_log()]
    if "predictions.png" in names:
        found["predictions.png"] = (folder / "predictions.png").read_bytes()
    return found


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """What differs between two :func:`contents`, "" if nothing does."""
    parts = []
    for key in one:
        if one[key] != other.get(key):
            found = f": {other[key]} instead of {one[key]}" if key == "files" else ""
            parts.append(f"{key} differs{found}")
    return ", ".join(parts)


def iteration(folder: Path) -> int:
    """The steps that are safe: those of the newest checkpoint that is whole; 0 if there is none."""
    steps = [0]
    for path in folder.glob("*.npz"):
        with contextlib.suppress(checkpoint.CheckpointError):
            steps.append(checkpoint.load(path)["progress"]["iteration"])
    return max(steps)


def _plain(value: Any) -> Any:
    """In a form that == compares to the last bit."""
    if isinstance(value, Mapping):
        kept = value.keys() - {"seconds", "out", "resume", "data_root"}
        return {key: _plain(part) for key, part in value.items() if key in kept}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    return repr(value) if isinstance(value, float) else value
