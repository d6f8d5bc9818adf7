"""What the drills share: work in forked processes with a limit of time, options, the last line."""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import pickle
import resource
import select
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Ended(NamedTuple):
    """How a forked job ended.

    Attributes:
        value: what it gave, None if it did not end well.
        problem: why it did not, "" if it did: what it raised, the signal, or the time.
    """

    value: Any
    problem: str


def fork() -> int:
    """``os.fork``, also where other threads are idle, of which newer Pythons warn."""
    sys.stdout.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def forked(job: Callable[[], Any], limit: float = 30.0) -> Ended:
    """Call ``job`` in a forked process, which is killed after ``limit`` seconds."""
    read, write = os.pipe()
    pid = fork()
    if not pid:
        with contextlib.suppress(BaseException):  # the child must never go on as its parent
            os.close(read)
            said = pickle.dumps(_called(job))
            with open(write, "wb") as file:
                file.write(said)
        os._exit(0)
    os.close(write)
    deadline = time.monotonic() + limit
    parts = []
    with open(read, "rb", buffering=0) as file:
        while ready := select.select([file], [], [], max(0.0, deadline - time.monotonic()))[0]:
            parts.append(file.read(1 << 16))
            if not parts[-1]:
                break
    if not ready:
        os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if not ready:
        return Ended(None, f"no end after {limit:g} s")
    if code < 0:
        return Ended(None, f"killed by {signal.Signals(-code).name}")
    return pickle.loads(b"".join(parts) or pickle.dumps(Ended(None, "it ended without a word")))


def _called(job: Callable[[], Any]) -> Ended:
    try:
        return Ended(job(), "")
    except BaseException as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        return Ended(None, f"{type(error).__name__}: {error} ({where})")


def resident() -> float:
    """MB of memory that this process has."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


def options(text: str, **numbers: int) -> argparse.ArgumentParser:
    """A parser whose help is the docstring of a drill; ``numbers`` are options and defaults."""
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in {**numbers, "seed": 0, "jobs": 2}.items():
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N")
    return parser


def spread(task: Callable[[Any], Any], items: Sequence[Any], jobs: int) -> Iterator[Any]:
    """``task(item)`` of each, as they come, over so many forked processes."""
    if min(jobs, len(items)) <= 1:
        yield from map(task, items)
        return
    _Pool.task = task  # what was there before the fork need not be pickled
    with multiprocessing.get_context("fork").Pool(min(jobs, len(items))) as pool:
        yield from pool.imap_unordered(_call, items)
        pool.close()
        pool.join()


class _Pool:
    task: Callable[[Any], Any]


def _call(item: Any) -> Any:
    return _Pool.task(item)


def summary(name: str, tries: int, failures: list[str], since: float) -> int:
    """Print the failures and the last line; gives the exit status."""
    for failure in failures:
        print(f"FAILED {failure}")
    used = sum(
        sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(
        f"{name}: tries {tries}, held {max(0, tries - len(failures))}, failed {len(failures)}, "
        f"{used:.0f} CPU seconds, {time.monotonic() - since:.0f} s"
    )
    return 1 if failures else 0
