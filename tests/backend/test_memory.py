"""Freed memory is kept: the second array of a size is not cleared page by page again."""

import os
import subprocess
import sys

import pytest

from tinyfcn.backend.cpu import memory

MEGABYTES = 48  # malloc's own choice is to give so much back

PROGRAM = f"""
import resource
import numpy as np
from tinyfcn import backend
from tinyfcn.backend.cpu import memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def work():
    before = faults()
    np.empty({MEGABYTES} << 20, np.uint8)[::4096] = 1
    return faults() - before

backend.active()
first, second = work(), work()
memory.release()
print(first, second, work())
"""

glibc = pytest.mark.skipif(not memory._call("gnu_get_libc_version"), reason="needs GNU's C library")


def page_faults(**settings):
    kept = {
        k: v for k, v in os.environ.items() if k not in (*memory.SETTLED, "TINYFCN_KEEP_MEMORY")
    }
    variables = {**kept, "PYTHONPATH": os.pathsep.join(sys.path), **settings}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=variables, capture_output=True, text=True, check=True
    )
    return [int(number) for number in run.stdout.split()]


@glibc
def test_freed_memory_is_used_again_until_it_is_released():
    first, second, after_release = page_faults()
    assert first > 16  # pages may be huge, 2 MB each
    assert second < first / 8
    assert after_release > first / 2


@glibc
@pytest.mark.parametrize(
    "setting", [{"TINYFCN_KEEP_MEMORY": "0"}, {"MALLOC_TRIM_THRESHOLD_": "131072"}]
)
def test_it_can_be_turned_off(setting):
    first, second, _ = page_faults(**setting)
    assert second > first / 2


def test_elsewhere_nothing_happens(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())  # a library without mallopt
    for name in memory.SETTLED:
        monkeypatch.delenv(name, raising=False)
    assert memory.keep() is False
    memory.release()
