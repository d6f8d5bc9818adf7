"""The fault drill: what can go wrong around a training, one thing at a time, as a table.

    python tests/drills/fault.py [--only WORD] [--jobs 2]

Each fault of ``faults.py`` strikes a ``tinyfcn train`` of half a second: full disks, folders that
vanish, damaged images, NaN, no memory, dead pipes. Then it is put right and the run resumed. The
table says what was done, how the run ended, how long that took, how many steps were lost, whether
the end was that of an undisturbed run bit by bit, and the last line that the user saw.

Held: the run ends within 10 s, with the right exit status and without a traceback; nothing but the
running step is lost (of a file of weights that could not be written: what came after the last one,
as the table of faults says for each), and --resume ends as if nothing had been.
"""

from __future__ import annotations

import functools
import itertools
import mmap
import shutil
import struct
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).resolve().parents[2]))

import drilling
import tiny_run
from faults import Fault, Stage, faults
from tiny_run import Process

from tinyfcn.data import write_mask
from tinyfcn.training.run import Run
from tinyfcn.training.run_folder import holds_run


class Row(NamedTuple):
    """A line of the table."""

    fault: str
    exit: str
    seconds: float
    lost: int
    same: str
    saw: str
    problems: list[str]


class Notes:
    """What a forked process says of itself: steps taken, and when the fault struck."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 16)

    def step(self, number: int) -> None:
        self._shared[:8] = struct.pack("q", number)

    def struck(self) -> None:
        self._shared[8:] = struct.pack("d", time.monotonic())

    def read(self) -> tuple[int, float]:
        return struct.unpack("qd", self._shared[:])


def make_data(folder: Path) -> None:
    """Small scenes, also with a large one to train on or to score; a class is not ASCII."""
    for name in ("", "train", "val"):
        root = tiny_run.write_data(folder / f"data{name}")
        names = (root / "classes.txt").read_text().split()
        (root / "classes.txt").write_text("\n".join([*names[:-1], "Zürich"]), encoding="utf-8")
        if name:
            last = (root / "ImageSets/Segmentation" / f"{name}.txt").read_text().split()[-1]
            side = 900 if name == "train" else 1400  # learning takes more memory than scoring
            pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
            Image.fromarray(pixels).save(root / "JPEGImages" / f"{last}.jpg")
            write_mask(root / "SegmentationClass" / f"{last}.png", pixels[..., 0] % 3)


def command(stage: Stage, large: str) -> list[str]:
    """What is run; a large image to train on is not cropped."""
    line = tiny_run.arguments(stage.data, stage.out)
    if large == "train":
        place = line.index("--crop")
        del line[place : place + 2]
    return line


def play(number: int, folder: Path, straight: dict[str, Any]) -> Row:
    """Let a fault strike a run, put it right, go on, compare."""
    fault = faults()[number]
    place = folder / fault.name.replace("/", " ")
    stage, notes = Stage(place / "data", place / "run"), Notes()
    shutil.copytree(folder / f"data{fault.large}", stage.data)

    def prepare() -> None:
        tiny_run.quickly(curves=False, save=fault.save)
        notes.struck()
        if fault.step == 0:
            fault.act(stage, None)
        after_step = Run.after_step

        def counted(run: Run) -> None:
            if run.progress.iteration + 1 == fault.step:
                notes.struck()
                fault.act(stage, run)
            notes.step(run.progress.iteration + 1)
            after_step(run)

        Run.after_step = counted  # type: ignore[method-assign]

    ended = Process(command(stage, fault.large), prepare).wait()
    over = time.monotonic()
    steps, struck = notes.read()
    problems = []
    if ended.code not in fault.codes:
        problems.append(f"exit status {ended.code}")
    if ended.code is None or (over - struck > tiny_run.PATIENCE and ended.code):
        problems.append("no end in time")
    if "Traceback" in ended.output:
        problems.append("a traceback")
    fault.repair(stage, None)
    lost = steps - tiny_run.iteration(stage.out)
    if lost > fault.lost:
        problems.append(f"{lost} of {steps} steps lost")
    same = resume(fault, stage, straight[fault.large])
    if same != "yes":
        problems.append(f"resumed: {same}")
    saw = ended.last_line
    return Row(fault.name, str(ended.code), over - struck, lost, same, saw, problems)


def resume(fault: Fault, stage: Stage, right: dict[str, Any]) -> str:
    """Go on; "yes" if the end is as it must be, else what is wrong with it."""
    line = command(stage, fault.large)
    if holds_run(stage.out):
        line.append("--resume")
    ended = Process(line, functools.partial(tiny_run.quickly, curves=False)).wait()
    if ended.code != 0:
        return f"{ended.code}, {ended.last_line}"
    found = tiny_run.contents(stage.out)
    for name in ("log.csv", "predictions.png", "curves.png", "report.html", "best.npz"):
        # They may miss, or be older, if the run went on without them; a picture is not drawn again.
        removed = fault.name == "folder removed" and name.endswith(".png")
        if f"disk full: {name}" in fault.name or removed:
            found = {**found, "files": right["files"], name: right.get(name)}
    return tiny_run.differences(right, found) or "yes"


def two_runs(folder: Path, right: dict[str, Any]) -> Row:
    """Begin two runs in one folder: one is told by whom it is used, the other is undisturbed."""
    stage, since = Stage(folder / "data", folder / "two runs"), time.monotonic()
    prepare = functools.partial(tiny_run.quickly, curves=False)
    runs = [Process(command(stage, ""), prepare) for _ in range(2)]
    refused, done = sorted((run.wait() for run in runs), key=lambda ended: ended.code == 0)
    problems = []
    if (refused.code, done.code) != (2, 0) or "in use by process" not in refused.last_line:
        problems.append(f"exit status {refused.code} and {done.code}: {refused.last_line}")
    if found := tiny_run.differences(right, tiny_run.contents(stage.out)):
        problems.append(found)
    same, name = found or "yes", "two runs into one folder"
    seconds = time.monotonic() - since
    return Row(name, str(refused.code), seconds, 0, same, refused.last_line, problems)


def main(arguments: list[str] | None = None) -> int:
    """The drill; gives the exit status."""
    parser = drilling.options(__doc__ or "")
    parser.add_argument("--only", metavar="WORD", default="", help="faults whose name has it")
    chosen = parser.parse_args(arguments)
    since, rows = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="drill-") as name:
        folder = Path(name)
        make_data(folder)
        names = [fault.name for fault in faults()]
        played = [number for number, name in enumerate(names) if chosen.only in name]
        straight = {}
        for large in {"", *(faults()[number].large for number in played)}:
            stage = Stage(folder / f"data{large}", folder / f"undisturbed{large}")
            prepare = functools.partial(tiny_run.quickly, curves=False)
            tiny_run.undisturbed(command(stage, large), prepare=prepare)
            straight[large] = tiny_run.contents(stage.out)
        width = max(map(len, names))
        print(f"{'fault':{width}}  exit  seconds  lost  same  what the user saw last", flush=True)
        task = functools.partial(play, folder=folder, straight=straight)
        more = [two_runs(folder, straight[""])] if chosen.only in "two runs" else []
        for row in itertools.chain(more, drilling.spread(task, played, chosen.jobs)):
            rows.append(row)
            same = "yes" if row.same == "yes" else "NO"
            saw = row.saw.replace(str(folder), "…")[:150]
            print(
                f"{row.fault:{width}}  {row.exit:>4}  {row.seconds:7.2f}  {row.lost:4}  {same:4}"
                f"  {saw}",
                flush=True,
            )
    failed = [f"{row.fault}: {', '.join(row.problems)}" for row in rows if row.problems]
    return drilling.summary("fault", len(rows), failed, since)


if __name__ == "__main__":
    sys.exit(main())
