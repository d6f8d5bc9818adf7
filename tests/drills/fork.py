"""The drill of forks, threads and signals: same bits, no hang, no leak.

    python tests/drills/fork.py [--tries 20] [--seed 0] [--jobs 1] [--only WORD]

What is computed is a convolution with its gradients, large enough for four threads. Each try is a
new process; a try holds if every process and thread that it makes gives the very bits that were
computed before, within 30 s, and if 50 calls in a child keep no more than 8 MB.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).resolve().parents[2]))

import drilling
import numpy as np
from drilling import forked, resident

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import nn, optim
from tinyfcn.data import DataLoader, Sample

LIMIT = 30.0  # seconds of a try
KEPT = 8.0  # MB that 50 calls may keep
FEW, MANY = 10, 50


def work(_: Any = None) -> str:
    """A fingerprint of a convolution and its gradients."""
    rng = np.random.default_rng(0)
    x = tinyfcn.tensor(rng.standard_normal((1, 8, 160, 160), np.float32), requires_grad=True)
    w = tinyfcn.tensor(rng.standard_normal((8, 8, 3, 3), np.float32), requires_grad=True)
    y = F.max_pool2d(F.relu(F.conv2d(x, w, padding=1)), 2)
    y.sum().backward()
    digest = hashlib.sha256()
    for tensor in (y, x.grad, w.grad):
        digest.update(np.ascontiguousarray(tensor.numpy()).tobytes())
    return digest.hexdigest()


def learn(_: Any = None) -> str:
    """A fingerprint of the weights after two steps, fed by a loader with threads."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 48, 48, 3), np.uint8)
    samples = [Sample("", image, image[..., 0] % 2) for image in images]
    tinyfcn.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1)
    )
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for batch in DataLoader(samples, batch_size=4, shuffle=True, workers=2):
        F.cross_entropy(model(tinyfcn.tensor(batch.images)), batch.labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    weights = b"".join(array.tobytes() for array in model.state_dict().values())
    return hashlib.sha256(weights).hexdigest()


@contextlib.contextmanager
def computing(threads: int) -> Iterator[None]:
    """So many other threads compute all the while."""
    stop = threading.Event()

    def keep_on() -> None:
        while not stop.is_set():
            work()

    others = [threading.Thread(target=keep_on) for _ in range(threads)]
    for other in others:
        other.start()
    try:
        yield
    finally:
        stop.set()
        for other in others:
            other.join()


def same(job: Callable[[], str], calls: int, right: str) -> str:
    """Call it; "" if that always gives ``right`` and keeps no memory, else what is wrong."""
    for _ in range(5):  # until the pools of memory have what they need
        job()
    before = resident()
    wrong = sum(job() != right for _ in range(calls))
    kept = resident() - before
    if wrong:
        return f"other bits in {wrong} of {calls} calls"
    return f"{kept:.0f} MB kept after {calls} calls" if kept > KEPT else ""


def in_child(job: Callable[[], str], calls: int, right: str) -> str:
    """The same in a forked child."""
    ended = forked(functools.partial(same, job, calls, right), LIMIT / 2)
    return ended.problem or ended.value


# ---- what is tried: each gives "" or what is wrong ----


def fork_idle() -> str:
    return in_child(work, MANY, work())


def fork_idle_and_learn() -> str:
    return in_child(learn, MANY, learn())


def fork_busy() -> str:
    right = work()
    with computing(1):
        return in_child(work, FEW, right) or in_child(learn, 1, learn())


def fork_very_busy() -> str:
    right = work()
    with computing(4):
        return in_child(work, FEW, right)


def fork_from_a_thread() -> str:
    right = work()
    with computing(1), ThreadPoolExecutor(1) as pool:
        child = pool.submit(in_child, work, FEW, right)
        again = work()
        return child.result() or ("other bits beside it" if again != right else "")


def fork_of_a_fork() -> str:
    right = work()
    ended = forked(lambda: same(work, 1, right) or in_child(work, FEW, right), LIMIT / 2)
    return ended.problem or ended.value or same(work, 1, right)


def fork_again_and_again() -> str:
    right = work()
    problems = [in_child(work, 1, right) for _ in range(8)]
    return next(filter(None, problems), "") or same(work, MANY, right)


def _pool(method: str) -> str:
    right = work()
    with multiprocessing.get_context(method).Pool(2) as pool:
        found = pool.map_async(work, range(4)).get(LIMIT - 5)
    return "" if {*found} == {right} else "other bits"


def pool_of_forks() -> str:
    return _pool("fork")


def pool_of_spawned() -> str:
    return _pool("spawn")


def pool_of_a_server() -> str:
    return _pool("forkserver")


def process_that_ends_by_itself() -> str:
    """With all that Python does at an end, such as joining threads."""
    work()
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(LIMIT / 2)
    if process.exitcode is None:
        process.kill()
        return "no end"
    return "" if process.exitcode == 0 else f"exit status {process.exitcode}"


def eight_threads() -> str:
    right, learnt = work(), learn()
    with ThreadPoolExecutor(8) as pool:
        found = [*pool.map(work, range(16))]
        again = [*pool.map(learn, range(1))]  # random numbers are the process's: one at a time
    return "" if {*found} == {right} and again == [learnt] else "other bits"


def signal_handlers() -> str:
    """A handler that computes, every 3 ms, in whatever it interrupts: it gets the right bits or a
    RuntimeError, and what it interrupts is as ever."""
    right = work()
    found = set()

    def handler(number: int, frame: Any) -> None:
        try:
            found.add(_small(5))
        except RuntimeError as error:
            found.add(f"refused: {error}" if "signal" in str(error) else str(error))

    small = _small(5)
    former = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.003, 0.003)
    until = time.monotonic() + 1.0
    wrong = 0
    while time.monotonic() < until:
        wrong += work() != right
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, former)
    odd = [text for text in found if text != small and not text.startswith("refused")]
    return f"other bits {wrong} times" if wrong else ", ".join(odd)


def _small(channels: int) -> str:
    x = tinyfcn.tensor(np.ones((1, channels, 64, 64), np.float32))
    w = tinyfcn.tensor(np.ones((channels, channels, 3, 3), np.float32))
    return hashlib.sha256(F.relu(F.conv2d(x, w, padding=1)).numpy().tobytes()).hexdigest()


CHECKS = [
    fork_idle, fork_idle_and_learn, fork_busy, fork_very_busy, fork_from_a_thread, fork_of_a_fork,
    fork_again_and_again, pool_of_forks, pool_of_spawned, pool_of_a_server,
    process_that_ends_by_itself, eight_threads, signal_handlers,
]  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """The drill; gives the exit status."""
    parser = drilling.options(__doc__ or "", tries=20)
    parser.add_argument("--only", metavar="WORD", default="", help="tries whose name has it")
    parser.set_defaults(jobs=1)
    chosen = parser.parse_args(arguments)
    os.environ["TINYFCN_NUM_THREADS"] = "4"  # also where there are fewer cores
    since, tries, failures = time.monotonic(), 0, []
    for check in (check for check in CHECKS if chosen.only in check.__name__):
        name = check.__name__.replace("_", " ")
        begun, failed = time.monotonic(), []
        for number in range(chosen.tries):
            ended = forked(check, LIMIT)
            if problem := ended.problem or ended.value:
                failed.append(f"{name}, try {number}: {problem}")
        tries += chosen.tries
        failures += failed
        seconds = time.monotonic() - begun
        print(f"{name:28} tries {chosen.tries}, failed {len(failed)}, {seconds:.1f} s", flush=True)
    return drilling.summary("fork", tries, failures, since)


if __name__ == "__main__":
    sys.exit(main())
