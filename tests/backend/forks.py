"""Forks in every situation, each a case that is right or raises; ``test_forks.py`` runs them in a
process of their own, where no other thread is about."""

import concurrent.futures
import contextlib
import json
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
import traceback
import warnings

import numpy as np

import tinyfcn
import tinyfcn.functional as F
from tinyfcn.backend.cpu import threads
from tinyfcn.data import DataLoader, Sample

SECONDS = 5  # that a child may take
DRAWN = np.random.default_rng(0)
X = tinyfcn.tensor(DRAWN.standard_normal((1, 32, 48, 48)).astype("float32"))
W = tinyfcn.tensor(DRAWN.standard_normal((32, 32, 5, 5)).astype("float32"))


def compute():
    return F.relu(F.conv2d(X, W, padding=2)).numpy().tobytes()


def blas_threads():
    return [library.num_threads for library in threads._blas_libraries]


WANTED, BLAS = compute(), blas_threads()


def in_child(function):
    """Run it in the child of a fork; its exit must come in time and without an error."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(SECONDS)
        try:
            function()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def compute_right():
    assert all(compute() == WANTED for _ in range(3))


def right():
    """As in the parent, with the BLAS threads as they were before, and helpers of its own."""
    compute_right()
    assert blas_threads() == BLAS
    assert len(threads._helpers) == threads.num_threads() - 1


@contextlib.contextmanager
def busy(function):
    """Another thread that does nothing else meanwhile."""
    stop = threading.Event()

    def work():
        while not stop.is_set():
            function()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def idle():
    in_child(right)


def of_a_child():
    in_child(lambda: (right(), in_child(lambda: (right(), in_child(right)))))


def while_another_thread_convolves():
    with busy(compute):
        for _ in range(6):
            in_child(right)


def while_another_thread_multiplies():
    a = tinyfcn.tensor(np.ones((300, 3000), "float32"))
    with busy(lambda: a @ a.transpose(0, 1)):
        for _ in range(4):
            in_child(lambda: (right(), a @ a.transpose(0, 1)))


def while_another_thread_draws():
    with busy(lambda: tinyfcn.random.generator().standard_normal(1_000_000)):
        for _ in range(3):
            in_child(lambda: tinyfcn.random.generator().random())


def from_a_task():
    def task(item):
        if item % 2:
            in_child(compute_right)

    threads.parallel_for(task, range(4))


def from_a_thread():
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(in_child, [right] * 4))


def in_a_process_pool():
    with concurrent.futures.ProcessPoolExecutor(
        2, mp_context=multiprocessing.get_context("fork")
    ) as pool:
        assert [*pool.map(call, [compute] * 6, timeout=2 * SECONDS)] == [WANTED] * 6


def call(function):
    return function()


def amid_an_op():
    """A signal handler forks, and the child goes on in it: right, or told that it cannot be."""
    children = []
    signal.signal(signal.SIGALRM, lambda *_: children.append(os.fork()))
    signal.setitimer(signal.ITIMER_REAL, 0.02)

    def task(item):
        time.sleep(0.01)
        return item

    try:
        found = threads.parallel_for(task, range(20))
    except RuntimeError as error:
        assert "fork" in str(error)
        os._exit(0)
    assert found == [*range(20)]
    assert children[0] != 0
    assert os.waitpid(children[0], 0)[1] == 0


def amid_an_epoch():
    samples = [Sample(str(i), np.zeros((3, 3, 3), "uint8"), np.zeros((3, 3), "uint8"))
               for i in range(9)]  # fmt: skip
    loader = iter(DataLoader(samples, workers=2))
    assert next(loader).ids == ("0",)
    rest = [(str(i),) for i in range(1, 9)]

    def go_on():
        assert [batch.ids for batch in loader] == rest

    in_child(go_on)
    assert [batch.ids for batch in loader] == rest


def and_nothing_piles_up():
    def many():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(40):
            F.relu(tinyfcn.tensor(np.ones(1_500_000, "float32")))
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 60_000  # kB

    in_child(many)


CASES = [
    idle, of_a_child, while_another_thread_convolves, while_another_thread_multiplies,
    while_another_thread_draws, from_a_task, from_a_thread, in_a_process_pool, amid_an_op,
    amid_an_epoch, and_nothing_piles_up,
]  # fmt: skip

if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads, from 3.12 on
    report = {}
    for case in CASES:
        try:
            case()
            report[case.__name__] = "right"
        except Exception:
            report[case.__name__] = traceback.format_exc()
    json.dump(report, sys.stdout)
