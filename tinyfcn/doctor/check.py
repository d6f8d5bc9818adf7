"""Everything that can be said of a folder of data without learning from it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyfcn.data import DataError, NoClassNames, NoSplit, SegmentationDataset, read_image
from tinyfcn.data.dataset import Classes
from tinyfcn.doctor.look import Part
from tinyfcn.doctor.masks import notes, what_must_go_wrong
from tinyfcn.doctor.pairs import same_pictures, swapped, turned
from tinyfcn.files import AnyPath
from tinyfcn.training.datasets import open_dataset, open_datasets

RARE = 0.001  # of the pixels: so rare a class is hardly learned without help
LARGE = 4  # times the crop, which shows little of such an image
MOST_PIXELS = 2_000_000  # of an image that is trained on whole
BOTH = " / "  # between the names of two samples
UNNAMED = ("background", *(f"class {label}" for label in range(1, 255)))


class Problem(NamedTuple):
    """What is wrong, and what to do; and the samples that it is about."""

    text: str
    names: list[str]


class Check(NamedTuple):
    """What was found: the lists that could be opened, what is wrong, and what is worth knowing."""

    parts: list[Part]
    problems: list[Problem]
    notes: list[Problem]


def before_training(dataset: SegmentationDataset, sure: bool = False) -> list[str]:
    """Look at masks, in random order, until every class was seen; in the end at all of them.

    Args:
        dataset: what is to be trained on.
        sure: the user has said which value is void.

    Returns:
        Sentences that are worth to be read.

    Raises:
        DataError: if masks do not say what they must have been meant to, as where a class never
            occurs while its value is taken for void; with what to do.
        FileNotFoundError: for a mask that is gone.
    """
    part = Part(dataset)
    part.look(np.random.default_rng(0).permutation(len(dataset)).tolist(), images=False)
    for error in part.errors.values():
        raise error
    if wrong := what_must_go_wrong(part, sure):
        raise DataError(wrong)
    return notes(part)


def check(
    root: AnyPath,
    splits: Sequence[str] = ("train", "val"),
    classes: Classes | None = None,
    void: int | None = None,
    crop: int | None = None,
    progress: Callable[..., Iterable[Any]] = lambda samples, **options: samples,
    workers: int = 2,
    read_image: Callable[[AnyPath], Any] = read_image,
    **shared: Any,
) -> Check:
    """Look at everything in a folder.

    Args:
        root, classes, void, shared: as for :func:`~tinyfcn.training.datasets.open_datasets`.
        splits: the lists, the first of which is trained on.
        crop: of the training that is planned.
        progress: wraps the loop over the samples of a list, such as ``tqdm``; takes its ``total``.
        workers: threads that read.
        read_image: reads an image file.
    """
    problems: list[Problem] = []
    worth_knowing: list[Problem] = []

    def opened(classes: Classes | None) -> Iterator[Part]:
        """The lists, or those that can be opened; why others cannot is a problem."""
        names = [*dict.fromkeys(splits)]
        try:
            both = open_datasets(root, names[0], names[-1], classes, void=void, **shared)
            yield from map(Part, both, names)
            return
        except NoClassNames:
            raise
        except (DataError, OSError) as error:
            problems.append(Problem(str(error), []))
        for name in names:
            try:
                yield Part(open_dataset(root, name, classes, void), name)
            except NoSplit:
                pass
            except (DataError, OSError) as error:
                problems.append(Problem(str(error), []))

    try:
        parts = [*opened(classes)]
    except NoClassNames as error:
        problems.append(Problem(str(error), []))
        parts = [*opened(UNNAMED)]
    for part in parts:
        part.dataset.read_image = read_image
        part.look(range(len(part.dataset)), True, workers, progress)
        problems += _files(part)
        if part.seen:
            problems += _masks(part, void is not None or part.classes == UNNAMED)
            worth_knowing += _worth_knowing(part, crop)
    if len(parts) == 2 and all(part.seen for part in parts):
        problems += _same(*parts)
    return Check(parts, _merged(problems), _merged(worth_knowing))


def _merged(problems: Iterable[Problem]) -> list[Problem]:
    """Those that differ in numbers and paths only are said once, of all their samples."""
    kinds: dict[str, Problem] = {}
    for text, names in problems:
        kind = re.sub(r"[^:,']*/[^:,']*|\d+", "", text)
        known = kinds.get(kind, Problem(text, []))
        # Of what is said of numbers, that of the largest, as of the range that all must have.
        kinds[kind] = Problem(max(known.text, text, key=_last_number), known.names + names)
    return [*kinds.values()]


def _last_number(text: str) -> int:
    return int(["0", *re.findall(r"\d+", text)][-1])


def _files(part: Part) -> Iterator[Problem]:
    """Names that are twice there; samples that cannot be read, or do not fit."""
    ids = part.dataset.ids
    if twice := [name for name, count in Counter(ids).items() if count > 1]:
        yield Problem(f"twice in the list {part.name}: take one of each out", twice)
    for place, error in part.errors.items():
        yield Problem(str(error), [ids[place]])


def _masks(part: Part, sure: bool) -> Iterator[Problem]:
    """Masks that cannot be meant so, or that lie where their images do not change."""
    wrong = what_must_go_wrong(part, sure)
    labels = part.table < len(part.classes)
    empty = [one.name for one in part.seen if not one.counts[labels].any()]
    if wrong:
        strange = [one.name for one in part.seen if one.counts[part.strange].any()]
        yield Problem(wrong, strange)
    elif empty:
        yield Problem("masks that are void all over: leave them out", empty)
    afar = [one.afar for one in part.seen]
    for how, places in turned(afar).items():
        if places:
            text = f"masks look {how}, as where an EXIF orientation was lost: store both upright"
            yield Problem(text, [part.seen[i].name for i in places])
    pairs = [(part.seen[i].name, part.seen[j].name) for i, j in swapped(afar)]
    if pairs:
        text = "masks that would fit better if they were swapped: look at these"
        yield Problem(text, [*map(BOTH.join, pairs)])


def _worth_knowing(part: Part, crop: int | None) -> Iterator[Problem]:
    """What may be meant so, but makes learning hard."""
    if part.classes != UNNAMED:
        yield from (Problem(f"{part.name}: {note}", []) for note in notes(part))
    if rare := [share.name for share in part.shares() if 0 < share.pixels < RARE]:
        yield Problem(
            f"{part.name}: less than {RARE:.1%} of the pixels; --class-weights helps", rare
        )
    most = (LARGE * crop) ** 2 if crop else MOST_PIXELS
    if large := [one.name for one in part.seen if one.counts.sum() > most]:
        text = (
            f"images of more than {most:,} pixels: make them smaller, or give a --crop that shows"
        )
        yield Problem(f"{text} much of them", large)


def _same(first: Part, second: Part) -> Iterator[Problem]:
    """Pictures that are trained on and scored on, under another name."""
    one, two = ([seen.afar for seen in part.seen] for part in (first, second))
    pairs = ((first.seen[i].name, second.seen[j].name) for i, j in same_pictures(one, two))
    if same := [BOTH.join(pair) for pair in pairs if len({*pair}) > 1]:
        text = f"the same pictures in {first.name} and in {second.name}, so that scores say little"
        yield Problem(f"{text}: take one of each out", same)
