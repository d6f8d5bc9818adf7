"""``tinyfcn train`` with something that happens to a rank: ``failing.py FAULT ARGUMENT...``"""

import errno
import os
import signal
import sys
import time

import numpy as np
from PIL import Image

from tinyfcn import cli, visualize
from tinyfcn.data import DataError
from tinyfcn.parallel import mpi
from tinyfcn.training import checkpoint, saver
from tinyfcn.training import run as run_module

page = cli.load("tinyfcn.examples.train_voc")


def in_second_step(act):
    """Call ``act()`` between forward and backward pass."""
    note = run_module.Run.note

    def noting(run, loss):
        if run.progress.iteration == 1:
            act()
        note(run, loss)

    run_module.Run.note = noting


def slow_to_save():
    def act(self, state, save=saver.Saver.save):
        time.sleep(3)
        save(self, state)

    saver.Saver.save = act


def damaged_image():
    raise DataError("sample 'Zürich': the image is cut short")


def sigterm():
    os.kill(os.getpid(), signal.SIGTERM)


def nan_in_second_step():
    total_loss, shards = page.total_loss, []

    def spoiled(model, x, labels, pixel_loss):
        shards.append(x)
        if len(shards) > 2:  # those of the first step
            x.data[...] = np.nan
        return total_loss(model, x, labels, pixel_loss)

    page.total_loss = spoiled


def dead_screen():
    read, write = os.pipe()
    os.close(read)
    os.dup2(write, 1)
    os.dup2(write, 2)


def defect_in_scoring():
    def scoring(*anything):
        raise KeyError("no such key")

    run_module.evaluate = scoring


def disk_full_at_last():
    def full(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def act(self, state, save=saver.Saver.save):
        if state["progress"]["iteration"] == 4:
            checkpoint.atomic_write = full
        save(self, state)

    saver.Saver.save = act


def busy():
    page.open_datasets = lambda *anything: time.sleep(60)


def damaged_before_training():
    page.open_datasets = lambda *anything: damaged_image()


FAULTS = {
    "none": {},
    "damaged image": {0: slow_to_save, 1: lambda: in_second_step(damaged_image)},
    "defect": {2: defect_in_scoring},
    "disk full": {0: disk_full_at_last},
    "NaN": {0: dead_screen, 1: nan_in_second_step},
    "SIGTERM": {1: lambda: in_second_step(sigterm)},
    "busy": {0: busy, 1: damaged_before_training},
}

if __name__ == "__main__":
    mpi.PATIENCE = 2.0
    visualize.plot_curves = lambda rows: [Image.new("L", (1, 1))] * 2
    rank = os.environ.get("OMPI_COMM_WORLD_RANK") or os.environ.get("PMI_RANK") or 0
    FAULTS[sys.argv[1]].get(int(rank), int)()
    sys.exit(cli.main(["train", *sys.argv[2:]]))
