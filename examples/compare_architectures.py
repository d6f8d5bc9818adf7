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

import csv
import io
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinyfcn import summary
from tinyfcn.cli.errors import UsageError, plain_errors
from tinyfcn.cli.parser import Parser, integer
from tinyfcn.data import SegmentationDataset
from tinyfcn.files import atomic_write
from tinyfcn.summary import amount
from tinyfcn.training import checkpoint
from tinyfcn.training.datasets import draw_scenes, open_dataset
from tinyfcn.training.evaluation import evaluate, predict
from tinyfcn.training.model_spec import spec_in
from tinyfcn.training.published import load_model
from tinyfcn.training.run_folder import SCORES, RunFolder
from tinyfcn.visualize import sheet


class Network(NamedTuple):
    """A network as it is trained here."""

    label: str
    options: tuple[str, ...] = ()  # for train_voc.py


FCNS = {"fcn32s": Network("FCN-32s"), "fcn16s": Network("FCN-16s"), "fcn8s": Network("FCN-8s")}
NETWORKS = {
    **FCNS,
    # As published, four images a step. The published class weights are left out: they draw rare
    # classes too large, which costs mean IU where there are two classes.
    "segnet_basic": Network("SegNet-Basic", ("--batch-size", "4")),
    # Without dropout and weight decay so narrow a network gets further, on the scenes to 0.32
    # instead of 0.25.
    "unet": Network("U-Net", ("--width", "0.09375", "--dropout", "0", "--weight-decay", "0")),
    "deeplab_largefov": Network("DeepLab", ("--width", "0.11")),
}
HEAD = (
    "network", "parameters", "multiply-adds", "minutes",
    "pixel accuracy", "mean accuracy", "mean IU", "f.w. IU",
)  # fmt: skip
ROWS = 5  # images in the picture


def compare(text: str, networks: Mapping[str, Network], out: Path) -> None:
    """Train the networks, then write the table and the picture, named as the folder ``out``."""
    parser = Parser(text)
    add = parser.add_argument
    add("--out", type=Path, default=out, metavar="PATH", help=f"the results (default {out})")
    add("--data-root", type=Path, metavar="PATH", help="own data, as for train_voc.py")
    add("--scenes", type=integer(1), metavar="N", help="scenes to train on (default 1500)")
    add("--only", metavar="NAMES", help=f"some of {','.join(networks)}")
    options, for_training = parser.parse_known_args()
    chosen = _chosen(networks, options.only)

    if options.data_root and options.scenes:
        raise UsageError("--scenes are drawn where there is no --data-root; give one of them")
    data_root = options.data_root or draw_scenes(options.out / "scenes", options.scenes or 1500)
    runs = {name: options.out / name for name in chosen}
    for name, network in chosen.items():
        train(name, network, data_root, runs[name], for_training)
    validation = open_validation(data_root, next(iter(runs.values())))
    rows, answers = [], {}
    for name, network in chosen.items():
        row, answers[network.label] = result(network, runs[name], validation)
        rows.append(row)
    stem = options.out / out.name
    write_table(stem, rows)
    write_picture(stem, validation, answers)


def _chosen(networks: Mapping[str, Network], only: str | None) -> dict[str, Network]:
    names = [name.strip() for name in only.split(",")] if only else list(networks)
    unknown = [name for name in names if name not in networks]
    if unknown:
        raise UsageError(f"--only: expected some of {', '.join(networks)}, got {unknown[0]!r}")
    return {name: networks[name] for name in names}


def train(name: str, network: Network, data_root: Path, run: Path, options: list[str]) -> None:
    """Train one network with train_voc.py, or end a training that was interrupted."""
    print(f"\n{network.label}", flush=True)
    script = Path(__file__).with_name("train_voc.py")
    command = [sys.executable, script, "--model", name, "--data-root", data_root, "--out", run]
    if (run / "last.npz").exists():
        command.append("--resume")
    status = subprocess.run([*map(str, command), *network.options, *options]).returncode
    if status:
        sys.exit(status)


def open_validation(data_root: Path, run: Path) -> SegmentationDataset:
    """The images that ``run`` was scored on."""
    path = run / "best.npz"
    state = checkpoint.load(path)
    return open_dataset(data_root, state["arguments"]["val_split"], spec_in(state, path).classes)


def result(
    network: Network, run: Path, validation: SegmentationDataset
) -> tuple[list[str], list[NDArray[np.uint8]]]:
    """A row of the table, of the best checkpoint of a run, and its answers to the first images.

    Multiply-adds are those of one image as large as the first.
    """
    model, spec = load_model(run / "best.npz")
    scores = evaluate(model, validation, validation.num_classes, spec.preprocessing)
    cost = summary(model, (3, *validation[0].mask.shape))
    minutes = RunFolder(run).read_log()[-1]["seconds"] / 60
    row = [network.label, f"{cost.parameters:,}", amount(cost.multiply_adds), f"{minutes:.1f}"]
    row += [f"{getattr(scores, score):.3f}" for score in SCORES]
    images = [validation[i].image for i in range(min(ROWS, len(validation)))]
    return row, [predict(model, [image], spec.preprocessing)[0] for image in images]


def write_table(stem: Path, rows: list[list[str]]) -> None:
    """The table, on the screen and in two files."""
    text = io.StringIO()
    csv.writer(text).writerows([HEAD, *rows])
    with atomic_write(stem.with_suffix(".csv")) as file:
        file.write(text.getvalue().encode())
    lines = [f"| {' | '.join(row)} |" for row in (HEAD, ["---"] * len(HEAD), *rows)]
    with atomic_write(stem.with_suffix(".md")) as file:
        file.write(("\n".join(lines) + "\n").encode())
    widths = [max(map(len, column)) for column in zip(HEAD, *rows, strict=True)]
    print()
    for row in (HEAD, *rows):
        print("  ".join(f"{text:>{n}}" for text, n in zip(row, widths, strict=True)))


def write_picture(
    stem: Path, validation: SegmentationDataset, answers: Mapping[str, list[NDArray[np.uint8]]]
) -> None:
    """Image, truth and the answers of each network, a row an image."""
    rows = [
        (validation[i].image, validation[i].mask, *masks)
        for i, masks in enumerate(zip(*answers.values(), strict=True))
    ]
    path = stem.with_suffix(".png")
    picture = sheet(rows, validation.classes, ("image", "truth", *answers))
    with atomic_write(path) as file:
        picture.save(file, format="PNG")
    print(f"\n{path} shows {len(rows)} images, the truth and the answers")


if __name__ == "__main__":
    with plain_errors():
        compare(__doc__, NETWORKS, Path("runs/architectures"))
