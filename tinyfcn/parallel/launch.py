"""How ranks begin: the processes that ``mpiexec`` or ``srun`` has started find each other."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tinyfcn.parallel.group import Group, group, use


def start() -> Group:
    """The ranks of this training: those of ``mpiexec``, where it started this process."""
    size = int(os.environ.get("OMPI_COMM_WORLD_SIZE") or os.environ.get("PMI_SIZE") or 1)
    if size > 1 and group().size == 1:
        from mpi4py import MPI

        from tinyfcn.parallel.mpi import MPIGroup

        screen = os.fdopen(os.dup(2), "w")
        use(MPIGroup(MPI.COMM_WORLD, screen))
        if group().rank:
            log_to(Path(os.devnull))
    return group()


def log_to(path: Path) -> None:
    """From now on what a rank other than the first prints goes to a file, behind what is there."""
    if group().rank:
        with open(path, "a", encoding="utf-8") as file:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
