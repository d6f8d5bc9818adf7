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
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tinyfcn import nn
from tinyfcn.cli.class_options import classes_of
from tinyfcn.cli.parser import Parser, sizes
from tinyfcn.cli.train_options import DEFAULTS, OPTIONS, add_option
from tinyfcn.data import VOID, DataLoader, SegmentationDataset
from tinyfcn.doctor.check import Check, Part, Problem, check
from tinyfcn.doctor.check_page import MARK, write_page
from tinyfcn.doctor.masks import listed
from tinyfcn.files import Outputs, atomic_write
from tinyfcn.training import report
from tinyfcn.training.augmentation import augmentation, augmented_sheet
from tinyfcn.visualize import made_by

TAKEN = {
    "classes", "mask-values", "void", "train-split", "val-split", "val-share", "group-by",
    "workers", "resize", "crop",
    "flip", "jitter", "colour-jitter", "augment", "seed",
}  # fmt: skip
SHOWN = 8  # names with a problem; the number of all is said


def main(arguments: Sequence[str]) -> int:
    """The command, called with its arguments."""
    parser = Parser(__doc__, prog="tinyfcn check", argument_default=argparse.SUPPRESS)
    parser.add_argument("data", metavar="DATA", help="the folder")
    for option in [*OPTIONS["data"], *OPTIONS["run"]]:
        if option.name in TAKEN:
            add_option(parser, option)
    parser.add_argument(
        "--augmented", nargs="?", const="augmented.png", default=None, metavar="PNG",
        help="draw what the first epochs of a training would see [augmented.png]",
    )  # fmt: skip
    parser.add_argument("--out", metavar="DIR", help="write check.html there, with pictures")
    options = argparse.Namespace(**{**DEFAULTS, **vars(parser.parse(arguments))})
    found = check(
        options.data, (options.train_split, options.val_split), classes_of(vars(options)),
        options.void, options.crop, functools.partial(report.bar, desc="looking"),
        max(1, options.workers), options.val_share, options.group_by == "folder",
    )  # fmt: skip
    print("\n".join(described(found)))
    if options.augmented and found.parts:
        print(f"augmented images: {draw_augmented(options, found.parts[0].dataset)}")
    if options.out:
        Path(options.out).mkdir(parents=True, exist_ok=True)
        print(f"with pictures: {write_page(found, options.out)}")
    return int(bool(found.problems))


def draw_augmented(options: argparse.Namespace, dataset: SegmentationDataset) -> str:
    """Where the sheet of augmented samples was written."""
    transform = augmentation(
        nn.Sequential(), options.crop, options.jitter, options.colour_jitter, options.flip,
        options.augment, sizes(options.resize) if options.resize else (),
    )  # fmt: skip
    loader = DataLoader(dataset, transform=transform, seed=options.seed)
    wanted = Path(options.augmented)
    wanted.parent.mkdir(parents=True, exist_ok=True)
    (path,), note = Outputs([], MARK).free(wanted.parent, wanted.stem, ".png")
    with atomic_write(path) as file:
        sheet = augmented_sheet(loader, dataset.classes)
        sheet.save(file, format="PNG", pnginfo=made_by(MARK))
    return f"{path}{note}"


def described(found: Check) -> list[str]:
    """Lines for the screen."""
    lines = [line for part in found.parts for line in (*_part(part), "")]
    for title, problems in (("problem", found.problems), ("note", found.notes)):
        if problems:
            lines.append(f"{len(problems)} {title}{'s' if len(problems) > 1 else ''}:")
            lines += [_problem(number, problem) for number, problem in enumerate(problems, 1)]
            lines.append("")
    return [*lines, "put right what is listed above" if found.problems else "nothing is wrong"]


def _problem(number: int, problem: Problem) -> str:
    text = f"{number:3}. {problem.text}"
    if problem.names:
        more = f" and {len(problem.names) - SHOWN} more" if len(problem.names) > SHOWN else ""
        text += f"\n     {len(problem.names)}: {', '.join(problem.names[:SHOWN])}{more}"
    return text


def _part(part: Part) -> list[str]:
    """What a list holds, and how often each class occurs."""
    tally, count = part.tally, len(part.seen)
    kind = type(part.dataset).__name__.removesuffix("Segmentation")
    images, masks = (Counter(seen.kinds[i] for seen in part.seen) for i in (0, 1))
    sizes = Counter(f"{seen.size[1]} x {seen.size[0]}" for seen in part.seen)
    lines = [
        f"{part.name}: {len(part.dataset)} images in {part.dataset.files[0][0].parent} ({kind})",
        *(f"  {what}: {_counted(how)}"
          for what, how in (("images", images), ("masks", masks), ("width x height", sizes))),
    ]  # fmt: skip
    names, places = (*tally.classes, "void"), [*range(len(tally.classes)), VOID]
    width, total = max(map(len, names)), max(1, tally.pixels.sum())
    lines.append(f"  {'':{width}}  % of pixels  % of images")
    for name, pixels, place in zip(names, tally.labels, places, strict=True):
        if not pixels:
            continue
        share = 100 * tally.images[place] / max(1, count)
        lines.append(f"  {name:{width}}  {100 * pixels / total:11.2f}  {share:11.1f}")
    few = 0 < len(tally.missing) < 9
    return [*lines, f"  never: {listed(tally.missing)}"] if few else lines


def _counted(kinds: Counter[str]) -> str:
    some = [f"{count} {kind}" for kind, count in kinds.most_common(3)]
    more = f" and {len(kinds) - 3} others" if len(kinds) > 3 else ""
    return ", ".join(some) + more
