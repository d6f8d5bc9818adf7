"""Look at a folder of data before anything is learned from it.

Says what was found, how often each class occurs, and every problem with what to do about it. The
exit status is 1 if there is one.

tinyfcn check VOCdevkit/VOC2012
tinyfcn check photos --classes background,cell
tinyfcn check photos --mask-values 0:background,255:cell --crop 256 --out .
tinyfcn check photos --classes background,cell --augmented --augment rotate,elastic=8
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from tinyfcn import nn
from tinyfcn.cli.class_options import classes_of
from tinyfcn.cli.parser import Parser, limits, sizes
from tinyfcn.cli.train_options import DEFAULTS, OPTIONS, add_option
from tinyfcn.data import DataLoader, SegmentationDataset, read_image
from tinyfcn.doctor.check import Problem, check
from tinyfcn.doctor.check_page import page_of
from tinyfcn.doctor.look import Part
from tinyfcn.doctor.masks import listed
from tinyfcn.files import Outputs
from tinyfcn.training import report
from tinyfcn.training.augmentation import augmentation, augmented_sheet
from tinyfcn.visualize import png

MARK = "tinyfcn check"
TRAINING = {"data-root", "preprocessing", "sbd-root", "scenes"}  # options for that alone


def main(arguments: Sequence[str]) -> int:
    """The command, called with its arguments."""
    parser = Parser(__doc__, prog="tinyfcn check", argument_default=argparse.SUPPRESS)
    parser.add_argument("data", metavar="DATA", help="the folder")
    for option in [*OPTIONS["data"], *OPTIONS["run"]]:
        if option.name == "seed" or (option in OPTIONS["data"] and option.name not in TRAINING):
            add_option(parser, option)
    parser.add_argument(
        "--augmented", nargs="?", const="augmented.png", default=None, metavar="PNG",
        help="draw what the first epochs of a training would see [augmented.png]",
    )  # fmt: skip
    parser.add_argument("--out", metavar="DIR", help="write check.html there, with pictures")
    options = argparse.Namespace(**{**DEFAULTS, **vars(parser.parse(arguments))})
    read = functools.partial(read_image, channels=options.channels, range=limits(options.range))
    parts, said = check(
        options.data, (options.train_split, options.val_split), classes_of(vars(options)),
        options.void, options.crop, functools.partial(report.bar, desc="looking"),
        max(1, options.workers), read, val_share=options.val_share,
        by_folder=options.group_by == "folder",
    )  # fmt: skip
    wrong, outputs = any(not problem.note for problem in said), Outputs([], MARK)
    print(*described(parts, said), sep="\n")
    print("put right what is listed above" if wrong else "nothing is wrong")
    if options.augmented and parts:
        sheet = augmented(options, parts[0].dataset)
        path, note = outputs.write(Path(options.augmented).with_suffix(".png"), png(sheet, MARK))
        print(f"augmented images: {path}{note}")
    if options.out:
        text = page_of(parts, said, MARK).encode("utf-8", "backslashreplace")
        path, note = outputs.write(Path(options.out, "check.html"), text)
        print(f"with pictures: {path}{note}")
    return int(wrong)


def augmented(options: argparse.Namespace, dataset: SegmentationDataset) -> Image.Image:
    """A sheet of samples, augmented as the options say."""
    transform = augmentation(
        nn.Sequential(), options.crop, options.jitter, options.colour_jitter, options.flip,
        options.augment, sizes(options.resize) if options.resize else (),
    )  # fmt: skip
    loader = DataLoader(dataset, transform=transform, seed=options.seed)
    return augmented_sheet(loader, dataset.classes)


def described(parts: Sequence[Part], said: Sequence[Problem]) -> Iterator[str]:
    """Lines for the screen."""
    for part in parts:
        yield "\n  ".join(part.about())
        yield "  % of pixels  % of images  class"
        for name, _, pixels, images in part.shares():
            if pixels:
                yield f"  {100 * pixels:11.2f}  {100 * images:11.1f}  {name}"
        yield ""
    for number, problem in enumerate(said, 1):
        yield f"{number:3}. {problem}"
        if problem.names:
            yield f"     {len(problem.names)}: {listed(problem.names)}"
