"""The skip experiment: what scores from finer layers add, in numbers and to the eye.

FCN-32s reads the classes off the coarsest layer alone and enlarges them 32 times; FCN-16s adds what
pool4 says about them, FCN-8s pool3 too (Long, Shelhamer, Darrell: "Fully convolutional networks for
semantic segmentation", CVPR 2015, section 4.2 and table 2). Here the three are trained one after
the other in the same way, on the same scenes, from the same seed:

    python examples/compare_skips.py

The results are skips.csv, skips.png and a run folder for each network. Options that are not
known here go to train_voc.py, for all three alike: try --epochs 4, or --data-root with own data.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from pathlib import Path

from tinyfcn.data import SegmentationDataset, VOCSegmentation, write_voc_tree
from tinyfcn.training import report
from tinyfcn.training.description import load_model
from tinyfcn.training.errors import plain_errors
from tinyfcn.training.evaluation import evaluate, predict
from tinyfcn.visualize import sheet

NETWORKS = {"fcn32s": "FCN-32s", "fcn16s": "FCN-16s", "fcn8s": "FCN-8s"}
COLUMNS = {
    "pixel_accuracy": "pixel accuracy",
    "mean_accuracy": "mean accuracy",
    "mean_iu": "mean IU",
    "fw_iu": "f.w. IU",
}
ROWS = 5  # images in the picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0], allow_abbrev=False)
    parser.add_argument("--out", type=Path, default=Path("runs/skips"), help="folder of results")
    parser.add_argument("--data-root", type=Path, help="a VOC tree; synthetic scenes by default")
    options, for_training = parser.parse_known_args()

    data_root = options.data_root or write_scenes(options.out / "scenes")
    for name in NETWORKS:
        train(name, data_root, options.out / name, for_training)

    validation = VOCSegmentation(data_root, "val")
    write_table(options.out, validation)
    write_picture(options.out, validation)


def write_scenes(root: Path) -> Path:
    """One set of synthetic scenes for all three."""
    write_voc_tree(root, progress=lambda scenes: report.bar(scenes, desc="drawing scenes"))
    return root


def train(name: str, data_root: Path, run: Path, options: list[str]) -> None:
    """Train one network with train_voc.py; a network that is trained already is left as it is."""
    if (run / "best.npz").exists():
        print(f"\n{NETWORKS[name]} is trained already, in {run}")
        return
    print(f"\n{NETWORKS[name]}", flush=True)
    script = Path(__file__).with_name("train_voc.py")
    command = [sys.executable, script, "--model", name, "--data-root", data_root, "--out", run]
    status = subprocess.run([*map(str, command), *options]).returncode
    if status:
        sys.exit(status)


def write_table(out: Path, validation: SegmentationDataset) -> None:
    """Score the best checkpoint of each network; the table goes to the screen and to skips.csv."""
    rows = []
    for name, label in NETWORKS.items():
        model, description = load_model(out / name / "best.npz")
        scores = evaluate(model, validation, validation.num_classes, description.preprocessing)
        rows.append([label, *(f"{getattr(scores, column):.3f}" for column in COLUMNS)])
    with (out / "skips.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["network", *COLUMNS], *rows])
    print("\n" + " ".join(f"{text:>14}" for text in ("network", *COLUMNS.values())))
    for row in rows:
        print(" ".join(f"{text:>14}" for text in row))


def write_picture(out: Path, validation: SegmentationDataset) -> None:
    """Image, truth and the three answers, a row an image."""
    samples = [validation[i] for i in range(min(ROWS, len(validation)))]
    columns = []
    for name in NETWORKS:
        model, description = load_model(out / name / "best.npz")
        columns.append([predict(model, [s.image], description.preprocessing)[0] for s in samples])
    rows = [
        (sample.image, sample.mask, *answers)
        for sample, *answers in zip(samples, *columns, strict=True)
    ]
    path = out / "skips.png"
    sheet(rows, validation.classes, ("image", "truth", *NETWORKS.values())).save(path)
    print(f"\n{path} shows {len(rows)} images, the truth and the three answers")


if __name__ == "__main__":
    with plain_errors():
        main()
