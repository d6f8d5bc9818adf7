"""How ranks begin: what launchers say, and what goes wrong before there is a group."""

import math
import os
import re
import signal
import subprocess
import sys
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpiexec import needs_mpi, run_ranks

from tinyfcn import cli
from tinyfcn.parallel import group, launch
from tinyfcn.parallel.launch import LaunchError, launched, once, share, start

# What each launcher sets for the third of four ranks, two on a machine.
HYDRA = {"PMI_SIZE": "4", "PMI_RANK": "2", "MPI_LOCALRANKID": "0", "MPI_LOCALNRANKS": "2"}
OPEN_MPI = {
    "OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "0",
    "PMIX_RANK": "2",
}  # fmt: skip
SBATCH = {"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NPROCS": "4"}
STEP = {**SBATCH, "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "2", "SLURM_STEP_ID": "0"}
ALONE_IN_A_STEP = {**SBATCH, "SLURM_STEP_NUM_TASKS": "1"}  # srun --pty bash
SECOND = {name: "1" for name in ("MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID")}


@pytest.fixture
def environment(monkeypatch):
    """Sets what a launcher would, and nothing of what started these tests."""
    for name in {*launch.SIZES, *launch.LOCAL_RANKS, *HYDRA, *OPEN_MPI, *STEP}:
        monkeypatch.delenv(name, raising=False)

    def put(variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return put


@pytest.mark.parametrize(
    ("variables", "size"),
    [
        ({}, 1), (HYDRA, 4), (OPEN_MPI, 4), (SBATCH, 1), (STEP, 4), (ALONE_IN_A_STEP, 1),
        ({**ALONE_IN_A_STEP, **HYDRA}, 4), ({**SBATCH, **OPEN_MPI}, 4),
        ({"SLURM_STEP_NUM_TASKS": "2", **OPEN_MPI}, 4),  # what srun started are daemons of mpiexec
        ({"PMI_SIZE": "2", "PMI_RANK": "1", "SLURM_LOCALID": "1"}, 2),  # srun --mpi=pmi2
        ({"PMI_SIZE": "", "SLURM_STEP_NUM_TASKS": "3"}, 3), ({"PMI_SIZE": "many"}, 1),
    ],
)  # fmt: skip
def test_the_launcher_says_how_many_there_are(environment, variables, size):
    environment(variables)
    assert launched() == size


@pytest.mark.parametrize("variables", [HYDRA, OPEN_MPI, STEP])
def test_the_first_of_a_machine_says_what_is_wrong(environment, variables):
    error = ValueError("wrong")
    environment(variables)
    assert once(error) is error
    environment({name: value for name, value in SECOND.items() if name in variables})
    assert isinstance(once(error), SystemExit)
    assert once(error).code == 0


def test_who_is_alone_says_it(environment):
    error = ValueError("wrong")
    environment({**SBATCH, "SLURM_LOCALID": "1"})
    assert once(error) is error
    assert start() is group()


AFFINITIES = st.lists(st.sets(st.integers(0, 70), min_size=1), min_size=1, max_size=70)


@given(AFFINITIES)
def test_shares_are_fair(here):
    shares = [share(own, here) for own in here]
    for own, threads in zip(here, shares, strict=True):
        # in parts of a CPU so small that each has a whole number of them
        parts = math.lcm(*range(1, len(here) + 1))
        mine = sum(parts // sum(cpu in cpus for cpus in here) for cpu in own)
        assert threads == max(1, mine // parts)
        assert threads <= len(own)
    if min(shares) > 1:
        assert sum(shares) <= len(set().union(*here))


@pytest.mark.parametrize(
    ("own", "here", "threads"),
    [
        ({0, 1, 2}, [{0, 1, 2}], 3),
        ({0, 1}, [{0, 1}, {2, 3, 4}], 2),  # bound to cores of their own
        ({2, 3, 4}, [{0, 1}, {2, 3, 4}], 3),
        ({0, 1, 2, 3}, 2 * [{0, 1, 2, 3}], 2),  # all anywhere
        (set(range(8)), 3 * [set(range(8))], 2),
        (set(range(147)), 49 * [set(range(147))], 3),  # 147 times 1/49 is less in floating point
        ({0, 1}, 4 * [{0, 1}], 1),  # more ranks than CPUs
        ({0, 1, 2, 3}, 2 * [{0, 1, 2, 3}] + 2 * [{4, 5, 6, 7}], 2),  # bound to sockets
        ({0}, [{0}] + 2 * [set(range(1, 8))], 1),
        (set(range(1, 8)), [{0}] + 2 * [set(range(1, 8))], 3),
    ],
)
def test_threads_of_a_rank(own, here, threads):
    assert share(own, here) == threads


def stand_in(monkeypatch, vendor, size, error=None):
    """An mpi4py that finds this MPI; gives what is called of it."""
    called = []

    class MPI:
        COMM_WORLD = types.SimpleNamespace(size=size)
        get_vendor = staticmethod(lambda: (vendor, (5, 0, 2)))
        Is_initialized = staticmethod(lambda: bool(called))
        Init_thread = staticmethod(lambda: called.append("Init_thread"))

    class Package(types.ModuleType):
        rc = types.SimpleNamespace(initialize=True, finalize=None)

        @property
        def MPI(self):
            if error:
                raise error
            assert not self.rc.initialize and self.rc.finalize
            return MPI

    monkeypatch.setitem(sys.modules, "mpi4py", Package("mpi4py"))
    return called


def test_without_mpi4py_the_first_rank_names_the_extra(environment, monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    environment(HYDRA)
    with pytest.raises(
        LaunchError, match=r"^4 ranks need mpi4py and an MPI: pip install 'tinyfcn\[mpi\]'"
    ):
        start()
    environment({"MPI_LOCALRANKID": "1"})
    with pytest.raises(SystemExit) as end:
        start()
    assert end.value.code == 0


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_what_runs_on_several_ranks_needs_them(environment, monkeypatch, capsys, command):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    environment(OPEN_MPI)
    with pytest.raises(SystemExit) as end:
        cli.main([command, "run.npz"])
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("error: 4 ranks need mpi4py and an MPI: pip install")


def test_without_an_mpi_it_says_what_mpi4py_says(environment, monkeypatch):
    stand_in(monkeypatch, "", 0, RuntimeError("cannot load MPI library\nlibmpi.so: not found\n"))
    environment(HYDRA)
    with pytest.raises(LaunchError, match=r"\(cannot load MPI library\nlibmpi.so: not found\n\)$"):
        start()


OTHER = "4 ranks were started by another MPI than mpi4py found, which is {}: start them"


@pytest.mark.parametrize(
    ("variables", "vendor", "size", "calls"),
    [
        (HYDRA, "Open MPI", 1, ["Init_thread"]),
        (STEP, "MPICH", 1, ["Init_thread"]),  # srun --mpi=none
        (OPEN_MPI, "MPICH", 1, []),  # it would not come back
        (OPEN_MPI, "Intel MPI", 1, ["Init_thread"]),
    ],
)
def test_an_mpiexec_of_another_mpi(environment, monkeypatch, variables, vendor, size, calls):
    called = stand_in(monkeypatch, vendor, size)
    environment(variables)
    with pytest.raises(LaunchError, match=OTHER.format(vendor)):
        start()
    assert called == calls
    assert group().size == 1


@pytest.mark.parametrize("variables", [HYDRA, OPEN_MPI, STEP])
def test_an_mpi_that_fits(environment, monkeypatch, variables):
    called = stand_in(monkeypatch, "Open MPI", 4)
    environment(variables)
    assert launch._world(4).size == launch._world(4).size == 4
    assert called == ["Init_thread"]  # also where the program has done it before


@pytest.mark.parametrize("command", ["predict", "models", "benchmark", "kernels"])
def test_other_commands_run_in_one_process(environment, capsys, command):
    environment(HYDRA)
    with pytest.raises(SystemExit) as end:
        cli.main([command, "--help"])
    assert end.value.code == 2
    assert capsys.readouterr().err == f"error: {command} runs in one process, and 4 were started\n"
    environment({"MPI_LOCALRANKID": "1"})
    with pytest.raises(SystemExit) as end:
        cli.main([command, "--help"])
    assert end.value.code == 0
    assert capsys.readouterr() == ("", "")


LOG = """
import os, sys
from pathlib import Path
from tinyfcn.parallel import Group, launch, use
print("before")
print("ahead", file=sys.stderr)
use(Group()).rank = int(sys.argv[1])
launch.log_to(Path(sys.argv[2]))
print("out")
print("err", file=sys.stderr)
os._exit(0)  # as if it were killed
"""


def test_other_ranks_print_to_a_file(tmp_path):
    file = tmp_path / "rank-1.log"
    file.write_text("old\n")
    for rank, said in (0, "before\nout\n"), (1, "before\n"):
        done = subprocess.run(
            [sys.executable, "-c", LOG, str(rank), str(file)], capture_output=True, text=True,
            env={"PYTHONPATH": os.pathsep.join(sys.path)},  # not PYTHONUNBUFFERED
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, said)
        assert done.stderr == ("ahead\n" if rank else "ahead\nerr\n")
    assert sorted(file.read_text().split()) == ["err", "old", "out"]


RANKS = """
import sys
from pathlib import Path
from tinyfcn.backend.cpu.threads import num_threads
from tinyfcn.cli.errors import plain_errors
from tinyfcn.parallel import launch
with plain_errors():
    ranks = launch.start()
    print("lost", file=sys.stderr)
    assert launch.start() is ranks
    launch.log_to(Path(f"{ranks.rank}.log"))
    print(ranks.rank, ranks.size, ranks.local_rank, ranks.local_size, num_threads())
"""


@needs_mpi
def test_ranks_find_each_other_and_share_the_machine(tmp_path):
    ended = run_ranks(3, ["-c", RANKS], 60, {"TINYFCN_NUM_THREADS": "3000"}, tmp_path)
    assert ended.code == 0, ended.stderr
    assert ended.stdout.strip() == "0 3 0 3 3000"
    for rank in 1, 2:
        assert (tmp_path / f"{rank}.log").read_text().strip() == f"{rank} 3 {rank} 3 3000"
    assert not (tmp_path / "0.log").exists()
    assert ended.stderr.count("lost") == 1
    crowd = re.findall(r"warning: 3 ranks on \S+ have 9000 threads in all, and CP", ended.stderr)
    assert len(crowd) == 1


@needs_mpi
def test_a_setting_that_cannot_be_is_said_once(tmp_path):
    ended = run_ranks(2, ["-c", RANKS], 60, {"TINYFCN_NUM_THREADS": "few"}, tmp_path)
    assert ended.code == 2
    assert ended.stderr.count("TINYFCN_NUM_THREADS must be an integer") == 1
    assert ended.stdout.strip() == ""


@needs_mpi
def test_what_all_find_alike_is_said_once():
    ended = run_ranks(3, ["-m", "tinyfcn", "predict"])
    assert ended.code == 2
    assert ended.stderr.count("predict runs in one process, and 3 were started") == 1


ONE_WRONG = """
import os
from tinyfcn import cli
rank = os.environ.get("OMPI_COMM_WORLD_RANK") or os.environ["PMI_RANK"]
cli.main(["train", "--out", "run", "--batch-size", "few" if rank == "1" else "8"])
"""


@needs_mpi
def test_options_that_are_wrong_on_one_rank_end_all(tmp_path):
    ended = run_ranks(2, ["-c", ONE_WRONG], 30, cwd=tmp_path)
    assert ended.code == 2
    assert len(re.findall("rank 1: argument --batch-size: expected an", ended.stderr)) == 1


def test_ctrl_c_before_the_ranks_have_found_each_other():
    program = "from tinyfcn.cli.errors import plain_errors\nwith plain_errors(): 1 / 0"
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **HYDRA}
    ends = {}
    for error in ("KeyboardInterrupt", "OSError('no')"):
        code = program.replace("1 / 0", f"raise {error}")
        ends[error] = subprocess.run([sys.executable, "-c", code], env=variables).returncode
    # An exit of one would leave the others waiting; errors that all meet alike are another thing.
    assert ends == {"KeyboardInterrupt": -signal.SIGINT, "OSError('no')": 2}
