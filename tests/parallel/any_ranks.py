"""Trainings of one kind on 1 to 4 of the 4 ranks of mpiexec, several at a time.

The script is given a folder for all, and as JSON for each round [[name, ranks, options], …]. What
is "resumed" goes on from a copy of what is "stopped".
"""

import itertools
import json
import os
import shutil
import signal
import sys
import traceback
from pathlib import Path

from PIL import Image

from tinyfcn import cli, parallel, visualize
from tinyfcn.parallel import exchange, launch
from tinyfcn.parallel.group import Group, use
from tinyfcn.parallel.mpi import MPIGroup
from tinyfcn.training.errors import Stopped
from tinyfcn.training.run import Run

STOP = 1  # the step, in the midst of an epoch, in which the second rank notes a signal


def train(arguments):
    cli.load("tinyfcn.examples.train_voc").main(arguments)


def stopping(run):
    if run.progress.iteration + 1 == STOP and run.group.rank == 1:
        run._stop.number = signal.SIGTERM
    after_step(run)


after_step = Run.after_step


def main(root, rounds):
    world = launch.start()
    for name in launch.SIZES:  # what is asked for below is not the group that mpiexec started
        os.environ.pop(name, None)
    visualize.plot_curves = lambda rows: [Image.new("L", (1, 1))] * 2  # takes longer than to train
    exchange.BUCKET_BYTES = 1 << 14
    for trainings in rounds:
        ends = [*itertools.accumulate(ranks for _, ranks, _ in trainings)]
        number = sum(world.rank >= end for end in ends)
        world.barrier()  # in which who waits sleeps
        use(MPIGroup(MPI.COMM_WORLD.Split(number)))
        name, ranks, options = trainings[number]
        assert parallel.group().size == ranks
        Run.after_step = stopping if name == "stopped" else after_step
        with parallel.group().rank_0_first():
            if name.startswith("resumed") and parallel.group().rank == 0:
                shutil.copytree(root / "stopped", root / name)
        try:
            train(["--out", str(root / name), *options])
        except Stopped:
            assert name == "stopped"
        use(Group())


if __name__ == "__main__":
    try:
        from mpi4py import MPI

        main(Path(sys.argv[1]), json.loads(sys.argv[2]))
    except BaseException:
        traceback.print_exc()
        MPI.COMM_WORLD.Abort(1)
