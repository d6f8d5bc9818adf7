"""The faults of the fault drill: what is done to a training, when, and how it is put right."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from tiny_run import FileOperations, page

from tinyfcn.data import Preprocessing, write_mask
from tinyfcn.training import run as run_module
from tinyfcn.training.run_folder import RECORDS

ALL = 99  # steps


class Stage(NamedTuple):
    """Where a fault is played."""

    data: Path  # a VOC tree of its own
    out: Path  # the run folder


Act = Callable[[Stage, Any], None]  # what is done, told the run that it is done to


def nothing(stage: Stage, run: Any = None) -> None:
    """Put nothing right: it was over with the process."""


class Fault(NamedTuple):
    """Something that goes wrong.

    Attributes:
        name: what, for the table.
        act: does it, in the process that trains.
        step: after how many optimizer steps; 0: before the run; of 12, four an epoch.
        repair: puts it right, after the process has ended.
        codes: the exit statuses that are right; with 0 the run goes on to its end.
        lost: so many steps may be lost, of those that were taken: all that came after it, where
            nothing can be written any more.
        save: checkpoints are written after every step, else only by epoch.
        large: the list, train or val, that has an image which takes much memory.
    """

    name: str
    act: Act
    step: int = 6
    repair: Act = nothing
    codes: tuple[int, ...] = (2,)
    lost: int = 0
    save: bool = False
    large: str = ""


# ---- disks and folders ----


def full_disk(name: str = "", once: bool = False) -> Act:
    """From now on, or once, there is no space for files whose name holds ``name``."""

    def act(stage: Stage, run: Any) -> None:
        failed = []

        def no_space(number: int, operation: str, path: str) -> None:
            if operation != "write" or str(stage.out) not in path:
                return
            if name in Path(path).name and not (once and failed):
                failed.append(path)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        FileOperations().watch(no_space)

    return act


def small_files(stage: Stage, run: Any) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))


def read_only(stage: Stage, run: Any) -> None:
    """For root too, whom modes bind when it has given up the capability to pass over them."""
    stage.out.mkdir(exist_ok=True)
    os.chmod(stage.out, 0o555)
    libc = ctypes.CDLL(None)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3 of this call, for this process
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable: low bits, then high ones
    libc.capget(header, sets)
    sets[0] &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    libc.capset(header, sets)


def writable(stage: Stage, run: Any = None) -> None:
    os.chmod(stage.out, 0o755)


def move_away(stage: Stage, run: Any) -> None:
    stage.out.rename(stage.out.with_name("moved"))


def move_back(stage: Stage, run: Any = None) -> None:
    """If the run has not made a new folder and gone on there."""
    moved = stage.out.with_name("moved")
    assert moved.exists(), "the fault was not played"
    if not stage.out.exists():
        moved.rename(stage.out)


def remove(stage: Stage, run: Any) -> None:
    shutil.rmtree(stage.out)


# ---- data ----


def spoiled(kind: str, split: str, spoil: Callable[[Path], object]) -> tuple[Act, Act]:
    """Do something to the images or masks of a list; and put them right."""

    def files(stage: Stage) -> list[Path]:
        ids = (stage.data / "ImageSets/Segmentation" / f"{split}.txt").read_text().split()
        return [p for p in sorted((stage.data / kind).iterdir()) if p.stem in ids]

    def act(stage: Stage, run: Any) -> None:
        shutil.copytree(stage.data / kind, stage.data.with_name("kept"))
        for path in files(stage):
            spoil(path)

    def repair(stage: Stage, run: Any = None) -> None:
        shutil.copytree(stage.data.with_name("kept"), stage.data / kind, dirs_exist_ok=True)

    return act, repair


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def other_size(path: Path) -> None:
    write_mask(path, np.zeros((5, 7), np.uint8))


def wrong_labels(path: Path) -> None:
    with Image.open(path) as image:
        size = image.size
    write_mask(path, np.full(size[::-1], 200, np.uint8))


# ---- numbers and memory ----


def spoil_weights(stage: Stage, run: Any) -> None:
    next(run.model.parameters()).data[...] = np.nan


def spoil_images(stage: Stage, run: Any) -> None:
    apply = Preprocessing.apply
    Preprocessing.apply = lambda self, image: apply(self, image) * np.float32(np.nan)  # type: ignore[method-assign]


def no_memory_for(module: Any, name: str) -> Act:
    """The next call of a function of a module finds no memory."""

    def act(stage: Stage, run: Any) -> None:
        def refuse(*anything: Any, **more: Any) -> None:
            raise MemoryError("Unable to allocate 9.31 GiB for an array with shape (2500000000,)")

        setattr(module, name, refuse)

    return act


def room_for(megabytes: int) -> Act:
    """Room for the small images, and not for the large one."""

    def act(stage: Stage, run: Any) -> None:
        with open("/proc/self/statm") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + (megabytes << 20), resource.RLIM_INFINITY))

    return act


# ---- screen, signals, files of an earlier part ----


def dead_pipe(stage: Stage, run: Any) -> None:
    read, write = os.pipe()
    os.close(read)
    os.dup2(write, 1)
    os.dup2(write, 2)


def ascii_screen(stage: Stage, run: Any) -> None:
    sys.stdout.reconfigure(encoding="ascii")  # type: ignore[union-attr]
    sys.stderr.reconfigure(encoding="ascii", errors="strict")  # type: ignore[union-attr]


def stop(stage: Stage, run: Any) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def rewritten(name: str, change: Callable[[bytes], bytes]) -> Act:
    """Change a file of the stopped run."""

    def act(stage: Stage, run: Any = None) -> None:
        path = stage.out / name
        path.write_bytes(change(path.read_bytes()))

    return act


def faults() -> list[Fault]:
    """All of them."""
    found = [
        Fault("disk full: config.json", full_disk("config.json"), 0),
        Fault("disk full: everything, from the start", full_disk(), 0),
        Fault("files of 50 kB at most, epoch 2", small_files, 6, lost=ALL, save=True),
    ]
    records = [name for name in RECORDS[1:] if "events" not in name]  # which are asked for
    for name in ("", *records, "best.npz", "last.npz"):
        for step in (2, 6):
            where = f"{name or 'everything'}, epoch {1 + step // 4}"
            codes = (0, 2) if name.endswith("npz") else (0,)  # 2 if it was the last time
            found.append(
                Fault(f"disk full once: {where}", full_disk(name, True), step, codes=codes)
            )
            if name.endswith("npz") or not name:
                more = {"lost": ALL, "save": True}
                found.append(Fault(f"disk full: {where}", full_disk(name), step, **more))
    found += [
        Fault("folder read-only from the start", read_only, 0, writable),
        Fault("folder read-only, epoch 1", read_only, 2, writable, lost=ALL, save=True),
        Fault("folder read-only, epoch 2", read_only, 6, writable, lost=ALL, save=True),
        Fault("folder moved away", move_away, 6, move_back, lost=1, save=True, codes=(0, 2)),
        Fault("folder removed", remove, 6, codes=(0, 2), lost=ALL),
    ]
    for split, step in (("train", 2), ("val", 1), ("val", 6)):
        for name, kind, spoil in (
            ("images removed", "JPEGImages", os.unlink),
            ("JPEGs cut short", "JPEGImages", cut),
            ("masks of another size", "SegmentationClass", other_size),
            ("masks with label 200", "SegmentationClass", wrong_labels),
        ):
            act, repair = spoiled(kind, split, spoil)
            found.append(Fault(f"{split} {name}, step {step}", act, step, repair))
    found += [
        Fault("NaN in the weights, epoch 1", spoil_weights, 2, codes=(1,), lost=2),
        Fault("NaN in the weights, epoch 2", spoil_weights, 6, codes=(1,), lost=2),
        # Learnt from, or scored, whichever comes first.
        Fault("NaN in the images, epoch 2", spoil_images, 6, codes=(1, 2)),
        Fault("no memory in a step, epoch 1", no_memory_for(page, "total_loss"), 2),
        Fault("no memory in a step, epoch 2", no_memory_for(page, "total_loss"), 6),
        Fault("no memory in scoring, epoch 1", no_memory_for(run_module, "evaluate"), 2),
        Fault("no memory in scoring, epoch 2", no_memory_for(run_module, "evaluate"), 6),
        Fault("RLIMIT_AS, a large image to train on", room_for(80), 1, large="train"),
        Fault("RLIMIT_AS, a large image to score", room_for(80), 2, large="val"),
        Fault("output to a dead pipe, from the start", dead_pipe, 0, codes=(0, 141)),
        Fault("output to a dead pipe, epoch 2", dead_pipe, 6, codes=(0, 141)),
        Fault("an ASCII terminal", ascii_screen, 0, codes=(0,)),
    ]
    for name, change in (
        ("log.csv with a BOM", lambda data: b"\xef\xbb\xbf" + data),
        ("log.csv with semicolons", lambda data: data.replace(b",", b";")),
        ("log.csv of noise", lambda data: bytes(range(256))),
        ("log.csv empty", lambda data: b""),
        ("last.npz cut short", lambda data: data[: len(data) // 2]),
        ("last.npz of zeros", lambda data: bytes(len(data))),
    ):
        file = name.split()[0]
        lost = 2 if file == "last.npz" else 0  # what the one before it has not
        found.append(Fault(f"SIGTERM, {name}", stop, 6, rewritten(file, change), (143,), lost))
    return found
