"""Six ways back to the size of the image, trained alike: scores, size and cost side by side.

A network that labels pixels first makes its maps small, to see far, and must then find its way back
to the image's outlines. FCN-32s upsamples the coarse scores; FCN-16s and 8s add finer ones; SegNet
remembers where each maximum stood; U-Net hands whole maps over; DeepLab does not make the maps so
small in the first place. Here they are trained one after the other, at equal cost, from the same
seed.

Equal cost means that an image costs each network about the same multiply-adds, which is what the
widths are chosen for, and that each sees every image equally often. How large the steps are and
how many images share one may differ: see NETWORKS. The results are architectures.csv, .md and .png,
and a run folder for each network; the same command goes on after an interruption. --only takes some
of the networks. Options that are not known here go to train_voc.py, for all alike: try --epochs 2.

python examples/compare_architectures.py
python examples/compare_architectures.py --data-root VOCdevkit/VOC2012 --crop 320
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinyfcn import Segmenter, summary
from tinyfcn.cli.errors import plain_errors
from tinyfcn.cli.evaluate import to_score
from tinyfcn.cli.parser import Parser, integer, one_of
from tinyfcn.cli.train_options import complete
from tinyfcn.data import Sample, SegmentationDataset
from tinyfcn.files import Outputs, bears, write_bytes
from tinyfcn.metrics import SCORES
from tinyfcn.summary import amount
from tinyfcn.training import checkpoint
from tinyfcn.training.datasets import draw_scenes
from tinyfcn.training.evaluation import evaluate
from tinyfcn.training.results import csv_table
from tinyfcn.training.run_folder import holds_run
from tinyfcn.visualize import png, sheet

# Name of a network, what it is called in the table, and its options for train_voc.py.
FCNS = {"fcn32s": ("FCN-32s", ""), "fcn16s": ("FCN-16s", ""), "fcn8s": ("FCN-8s", "")}
NETWORKS = {
    **FCNS,
    # As published, four images a step. The published class weights are left out: they draw rare
    # classes too large, which costs mean IU where there are two classes.
    "segnet_basic": ("SegNet-Basic", "--batch-size 4"),
    # Without dropout and weight decay so narrow a network gets further, on the scenes to 0.32
    # instead of 0.25.
    "unet": ("U-Net", "--width 0.09375 --dropout 0 --weight-decay 0"),
    "deeplab_largefov": ("DeepLab", "--width 0.11"),
}
HEAD = "network", "parameters", "multiply-adds", "minutes", *SCORES.values()
MARK = "compare_architectures.py"
MARKS = ",".join(HEAD), " | ".join(HEAD), MARK  # of the table in two forms, and of the picture
SHOWN = 5  # images in the picture


def compare(text: str, networks: Mapping[str, tuple[str, str]], out: Path) -> None:
    """Train the networks, then write the table and the picture, named as the folder ``out``."""

    def names(given: str) -> list[str]:
        return [one_of(networks)(name.strip()) for name in given.split(",")]

    parser = Parser(text)
    add = parser.add_argument
    add("--out", type=Path, default=out, metavar="PATH", help=f"the results (default {out})")
    add("--only", type=names, default=[*networks], metavar="NAMES",
        help=f"some of {','.join(networks)}")  # fmt: skip
    add = parser.add_mutually_exclusive_group().add_argument
    add("--data-root", type=Path, metavar="PATH", help="own data, as for train_voc.py")
    add("--scenes", type=integer(1), default=1500, metavar="N",
        help="scenes to train on (default 1500)")  # fmt: skip
    options, for_training = parser.parse_known_args()

    data_root = options.data_root or draw_scenes(options.out / "scenes", options.scenes)
    for name in options.only:
        label, own = networks[name]
        print(f"\n{label}", flush=True)
        train(name, data_root, options.out / name, [*own.split(), *for_training])
    best = options.out / options.only[0] / "best.npz"
    validation, _ = to_score(complete({"evaluate": str(best)}), data_root)
    shown = list(itertools.islice(validation, SHOWN))
    table, answers = [HEAD], {}
    for name in options.only:
        label, _ = networks[name]
        numbers, answers[label] = result(options.out / name, validation, shown)
        table.append((label, *numbers))
    paths, note = Outputs([], *MARKS).free(options.out, out.name, ".csv", ".md", ".png")
    write_table(*paths[:2], table)
    write_picture(paths[2], validation.classes, shown, answers)
    print(f"the table is {paths[0]} and {paths[1].name}{note}")


def train(name: str, data_root: Path, run: Path, options: list[str]) -> None:
    """Train a network with train_voc.py, or end a training that was interrupted."""
    script = Path(__file__).with_name("train_voc.py")
    command = [sys.executable, script, "--model", name, "--data-root", data_root, "--out", run]
    # A run of another origin is not gone on with, and stays.
    ours = bears(run / "config.json", f'"data_root": {json.dumps(str(data_root))}')
    if ours and holds_run(run):
        command.append("--resume")
    status = subprocess.run([*map(str, command), *options]).returncode
    if status:
        sys.exit(status)


def result(
    run: Path, validation: SegmentationDataset, shown: list[Sample]
) -> tuple[list[str], list[NDArray[np.uint8]]]:
    """The numbers of the table, of the best checkpoint of a run, and its answers to the images.

    Multiply-adds are those of one image as large as the first.
    """
    trained = Segmenter(run / "best.npz")
    scores = evaluate(trained.model, validation, trained.spec.preprocessing).scores
    cost = summary(trained.model, (3, *shown[0].mask.shape))
    minutes = checkpoint.load(run / "last.npz")["progress"]["seconds"] / 60
    numbers = [f"{cost.parameters:,}", amount(cost.multiply_adds), f"{minutes:.1f}"]
    numbers += [f"{getattr(scores, score):.3f}" for score in SCORES]
    return numbers, [trained(sample.image).mask for sample in shown]


def write_table(as_csv: Path, as_markdown: Path, table: list[tuple[str, ...]]) -> None:
    """The table, on the screen and in two files."""
    write_bytes(as_csv, csv_table(table))
    lines = [f"| {' | '.join(row)} |\n" for row in (HEAD, ["---"] * len(HEAD), *table[1:])]
    write_bytes(as_markdown, "".join(lines).encode())
    print("\n" + "".join(lines), end="")


def write_picture(
    path: Path, classes: Sequence[str], shown: list[Sample],
    answers: Mapping[str, list[NDArray[np.uint8]]],
) -> None:  # fmt: skip
    """Image, truth and the answers of each network, a row an image."""
    rows = [
        (sample.image, sample.mask, *masks)
        for sample, *masks in zip(shown, *answers.values(), strict=True)
    ]
    picture = sheet(rows, classes, ("image", "truth", *answers))
    write_bytes(path, png(picture, MARK))
    print(f"\n{path} shows {len(rows)} images, the truth and the answers")


if __name__ == "__main__":
    with plain_errors():
        compare(__doc__, NETWORKS, Path("runs/architectures"))
