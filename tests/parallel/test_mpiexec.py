"""The helper that other tests start their ranks with."""

import os
import re
import subprocess
import sys
import time

import pytest
from mpiexec import descendants, needs_mpi, run_ranks, start_ranks, wait_for

with_proc = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")

HELLO = """
import os, sys
import mpi4py.MPI as MPI
world = MPI.COMM_WORLD
print(f"rank {world.rank} of {world.size} {sys.argv[1]} {os.environ['COLOUR']}", flush=True)
print(os.getcwd(), file=sys.stderr, flush=True)
sys.exit(7 if world.rank == 1 else 0)
"""


@needs_mpi
def test_three_ranks_say_hello_and_one_fails(tmp_path):
    before = dict(os.environ)
    ended = run_ranks(3, ["-c", HELLO, "dear"], 30, {"COLOUR": "blue"}, tmp_path)
    said = sorted(re.findall(r"rank \d of 3 dear blue", ended.stdout))  # lines may be mixed
    assert said == [f"rank {rank} of 3 dear blue" for rank in range(3)]
    assert str(tmp_path) in ended.stderr
    assert ended.code == 7
    assert 0 < ended.seconds < 30
    assert dict(os.environ) == before


@needs_mpi
@with_proc
def test_all_of_it_is_killed_at_the_end_of_its_time():
    process = start_ranks(2, ["-c", "import time; print('begun', flush=True); time.sleep(600)"])
    assert process.stdout.readline()
    tree = descendants(process.pid)
    assert len(tree) >= 2
    with pytest.raises(pytest.fail.Exception, match=r"still running after 0\.1 s"):
        wait_for(process, 0.1)
    until = time.monotonic() + 5
    while any(_alive(pid) for pid in tree) and time.monotonic() < until:
        time.sleep(0.02)
    assert not any(_alive(pid) for pid in tree)


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@with_proc
def test_processes_that_a_process_started():
    program = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE) as process:
        until = time.monotonic() + 20
        while not (found := descendants(process.pid)) and time.monotonic() < until:
            time.sleep(0.02)
        assert len(found) == 1
        assert found[0] in descendants(os.getpid())
        process.stdin.close()
