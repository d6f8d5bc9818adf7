"""How ranks begin: the processes that ``mpiexec`` or ``srun`` has started find each other."""

from __future__ import annotations

import os
import platform
import signal
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from tinyfcn.backend.cpu.threads import num_threads
from tinyfcn.parallel.group import Group, RankFailed, group, use

# Open MPI, MPICH (and what is made of it), a step of SLURM: how many ranks there are, and which one
# of its machine this is. The script of sbatch is no step, and has only SLURM_NTASKS.
SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")
LOCAL_RANKS = ("OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID", "PMI_RANK")


class LaunchError(ImportError):
    """These ranks cannot find each other: there is no MPI, or not the launcher's."""


def launched() -> int:
    """How many ranks the launcher says it has started; 1 without a launcher."""
    return _number(SIZES, 1)


def once(error: Exception) -> BaseException:
    """What to raise where all ranks meet one error before they have found each other: the first of
    each machine says it."""
    # The others end with 0: after a failure Open MPI would end the one that is about to speak.
    return SystemExit(0) if launched() > 1 and _number(LOCAL_RANKS, 0) else error


def leave() -> None:
    """After Ctrl-C: end by a signal where the ranks have not found each other yet. After an exit
    the others would look for this one for ever, under MPICH."""
    if group().size < launched():
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)


def start() -> Group:
    """The ranks of this training: those that the launcher started, or this process alone.

    They share the CPUs of a machine: where the user has not set it, ``TINYFCN_NUM_THREADS`` is set
    to :func:`share`. What a rank other than the first prints is lost from now on, until
    :func:`log_to`.

    Raises:
        LaunchError: on the first rank of each machine.
    """
    if launched() > 1 and group().size == 1:
        from tinyfcn.parallel.mpi import MPIGroup

        use(MPIGroup(_world(launched()), os.fdopen(os.dup(2), "w", errors="backslashreplace")))
        log_to(Path(os.devnull))
        sys.excepthook = _end_all
        _share_cpus(group())
    return group()


def log_to(path: Path) -> None:
    """From now on what a rank other than the first prints goes to a file, behind what is there.
    On all of them a line goes out when it is whole: they may be killed before the next."""
    streams: tuple[Any, Any] = sys.stdout, sys.stderr
    for stream in streams:
        stream.reconfigure(line_buffering=True)  # hands on what it holds, too
    if group().rank:
        with open(path, "a", encoding="utf-8") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)


def _end_all(kind: Any, error: BaseException, where: Any) -> None:
    """What the other ranks would wait for will not come."""
    sys.__excepthook__(kind, error, where)
    text = "".join(traceback.format_exception(kind, error, where)).rstrip()
    group().end(RankFailed(f"\n{text}"), text, 1)


def share(own: set[int], here: Sequence[set[int]]) -> int:
    """How many threads a rank may have: each CPU is shared by the ranks that may run on it.

    Args:
        own: the CPUs that the rank may run on.
        here: those of each rank on its machine, this one among them.

    Example:
        >>> share({0, 1}, [{0, 1}, {2, 3}]), share({0, 1, 2, 3}, 2 * [{0, 1, 2, 3}])
        (2, 2)
    """
    users = Counter(cpu for cpus in here for cpu in cpus)
    return max(1, int(sum(Fraction(1, users[cpu]) for cpu in own)))


def _share_cpus(ranks: Group) -> None:
    node, own = platform.node(), set(range(os.cpu_count() or 1))
    if hasattr(os, "sched_getaffinity"):
        own = os.sched_getaffinity(0)
    here = [cpus for where, cpus in ranks.gather((node, own)) if where == node]
    os.environ.setdefault("TINYFCN_NUM_THREADS", str(share(own, here)))
    threads = sum(its for where, its in ranks.gather((node, num_threads())) if where == node)
    if threads > (cpus := len(set().union(*here))):
        print(f"warning: {len(here)} ranks on {node} have {threads} threads in all, and CPUs for "
              f"{cpus}: they get in each other's way", file=sys.stderr)  # fmt: skip


def _world(size: int) -> Any:
    """The communicator of all ranks, whose number is ``size``."""
    try:
        import mpi4py

        mpi4py.rc.initialize, mpi4py.rc.finalize = False, True  # only after a look at what it found
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: there is no MPI
        raise once(LaunchError(
            f"{size} ranks need mpi4py and an MPI: pip install 'tinyfcn[mpi]' ({error})"
        )) from error  # fmt: skip
    found = MPI.get_vendor()[0]
    # Under Open MPI's mpiexec, MPICH would end this process; others find themselves alone.
    if found != "MPICH" or "OMPI_COMM_WORLD_SIZE" not in os.environ:
        warnings.filterwarnings("ignore", "suspicious MPI")  # is said below, and once
        if not MPI.Is_initialized():
            MPI.Init_thread()
        if MPI.COMM_WORLD.size == size:
            return MPI.COMM_WORLD
    raise once(LaunchError(
        f"{size} ranks were started by another MPI than mpi4py found, which is {found}: start them "
        "with its own mpiexec (pip's is beside python), or srun with a kind of PMI that it has"
    ))  # fmt: skip


def _number(names: Sequence[str], default: int) -> int:
    """What the first of these environment variables says that holds a number."""
    texts = (os.environ.get(name, "") for name in names)
    return next((int(text) for text in texts if text.isdecimal()), default)
