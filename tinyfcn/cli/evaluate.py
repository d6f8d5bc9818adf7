"""Score a trained network.

What the checkpoint knows about its data need not be said again: without options it is scored on the
images that its training scored it on. Of another folder it is the list of the same name, or, where
there are no lists, all images. With --out, the folder gets scores.json, images.csv with the scores
of each image, confusion.csv and confusion.png, and report.html, which shows all of it and the worst
images. A file of another origin stays: report.html is report-2.html then.

tinyfcn evaluate runs/fcn8s/best.npz
tinyfcn evaluate runs/fcn8s/best.npz --val-split test --out scores
tinyfcn evaluate runs/fcn8s/best.npz some.txt
tinyfcn evaluate runs/fcn8s/best.npz photos --backend cupy
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

from tinyfcn import nn, parallel
from tinyfcn.cli.errors import typed, use_backend
from tinyfcn.cli.network import build, spec_of
from tinyfcn.cli.option_table import OPTIONS, add_option
from tinyfcn.cli.parser import Parser
from tinyfcn.cli.train_options import complete
from tinyfcn.data import DataError, NoSplit, SegmentationDataset
from tinyfcn.data.conventions import NoClassNames
from tinyfcn.doctor import before_training
from tinyfcn.parallel import launch
from tinyfcn.training import report
from tinyfcn.training.datasets import BLACK_AND_WHITE, draw_scenes, open_dataset
from tinyfcn.training.evaluation import evaluate
from tinyfcn.training.model_spec import spec_in
from tinyfcn.training.results import write_results

TAKEN = (
    "data-root", "classes", "mask-values", "void", "val-split", "preprocessing", "backend",
)  # fmt: skip


def main(arguments: Sequence[str]) -> None:
    """The command, called with its arguments."""
    launch.start()
    parser = Parser(__doc__, prog="tinyfcn evaluate", argument_default=argparse.SUPPRESS)
    add = parser.add_argument
    add("evaluate", metavar="CHECKPOINT", help="such as runs/fcn8s/best.npz")
    for option in [*OPTIONS["data"], *OPTIONS["run"]]:
        if option.name in TAKEN:
            add_option(parser, option._replace(default=None))
    add("--out", dest="results", metavar="DIR", help="write scores and report there")
    about = "other images and masks, or a list .txt of images"
    add("folder", nargs="?", metavar="FOLDER", help=about)
    given = vars(parser.parse(arguments))
    if str(given.get("folder")).endswith(".txt"):
        given["val_split"] = given.pop("folder")
    results = given.pop("results", None)
    score(complete(given), results)


def score(options: argparse.Namespace, results: str | None = None) -> None:
    """Print the scores of the checkpoint ``options.evaluate``, and write them into a folder."""
    use_backend(options.backend)
    group = parallel.group()
    with group.rank_0_first():
        if results is not None:
            Path(results).mkdir(parents=True, exist_ok=True)  # before the work
        root = options.data_root or draw_scenes(Path(options.out) / "scenes", options.scenes)
    validation, split = to_score(options, root)
    which = f"those of the list {split}" if split else "all"
    print(f"images: {len(validation)}, {which} in {root}")
    if "data_root" in options.given:
        for note in group.from_rank_0(lambda: doubts(validation, options.void is not None)):
            print(f"note: {note}")
    spec = spec_of(options, validation.classes)
    validation.read_image = spec.preprocessing.read
    model = build(spec, options)
    print(f"{spec}: {nn.count_parameters(model):,} parameters")
    started = time.monotonic()
    found = evaluate(model, validation, spec.preprocessing, group)
    scores = found.scores
    print(report.HEAD)
    print(report.row("", scores, None, time.monotonic() - started))
    print(report.class_lines(scores, validation.classes))
    if results is not None and group.rank == 0:
        about = {
            "checkpoint": options.evaluate, "data": str(root), "list": split,
            "images": len(validation), "model": str(spec), "preprocessing": str(spec.preprocessing),
        }  # fmt: skip
        print(f"{results}: {', '.join(write_results(results, found, validation.classes, about))}")
    print(f"mean IU {scores.mean_iu:.3f} of {options.evaluate} on {len(validation)} images")


def doubts(dataset: SegmentationDataset, sure: bool) -> list[str]:
    """What the doctor says of masks; none can go wrong here, but scores may say nothing."""
    try:
        return before_training(dataset, sure=sure)
    except DataError as error:
        return [typed(str(error))]


def to_score(
    options: argparse.Namespace, root: str | Path
) -> tuple[SegmentationDataset, str | None]:
    """The images to score on, and the name of their list; None for all in ``root``.

    Raises:
        NoSplit: if there are lists, but none of the name.
    """

    def opened(split: str | None) -> SegmentationDataset:
        with contextlib.suppress(NoClassNames):
            dataset = open_dataset(root, split, options.classes_given, options.void)
            if options.classes_given or dataset.classes != BLACK_AND_WHITE:
                return dataset
        known = spec_in(options.state, options.evaluate).classes  # where nobody named them
        return open_dataset(root, split, known, options.void)

    try:
        return opened(options.val_split), options.val_split
    except NoSplit as none:
        trained_in = options.state["arguments"].get("data_root")
        other = Path(str(root)).resolve() != Path(str(trained_in)).resolve()
        held_out = Path(options.evaluate).with_name("val.txt")  # by the training
        if "val_split" in options.given or (none.lists if other else not held_out.exists()):
            raise
        split = None if other else str(held_out)
    return opened(split), split
