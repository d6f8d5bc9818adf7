"""Everything that can be said of a folder of data without learning from it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from tinyfcn.data import DataError, NoClassNames, NoSplit, read_image
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
    """What is wrong, and what to do; the samples that it is about, and files that it names."""

    text: str
    names: Sequence[str] = ()
    files: Sequence[Path] = ()


class Check(NamedTuple):
    """What was found: the lists that could be opened, what is wrong, and what is worth knowing."""

    parts: list[Part]
    problems: list[Problem]
    notes: list[Problem]


def check(
    root: str | PathLike[str],
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
            problems.append(Problem(str(error)))
        for name in names:
            try:
                yield Part(open_dataset(root, name, classes, void), name)
            except (DataError, OSError) as error:
                problems.extend([] if isinstance(error, NoSplit) else [Problem(str(error))])

    nameless = ""
    try:
        parts = [*opened(classes)]
    except NoClassNames as error:
        nameless, parts = str(error), [*opened(UNNAMED)]
    for part in parts:
        part.dataset.read_image = read_image
        part.look(range(len(part.dataset)), True, workers, progress)
        problems += _files(part)
        if part.seen:
            problems += _masks(part, void is not None, nameless)
        if part.seen and not nameless:
            worth_knowing += _worth_knowing(part, crop)
    if len(parts) == 2 and all(part.seen for part in parts):
        problems += _same(*parts)
    return Check(parts, _merged(problems), _merged(worth_knowing))


def _merged(problems: Iterable[Problem]) -> list[Problem]:
    """Those that differ in numbers and files only are said once, of all their samples."""
    kinds: dict[str, Problem] = {}
    names: dict[str, list[str]] = defaultdict(list)
    for problem in problems:
        kind = problem.text
        for file in problem.files:
            kind = kind.replace(str(file), "")
        kind = re.sub(r"\d+|\S*/\S*", "", kind)
        # Of what is said of numbers, that of the largest, as of the range that all must have.
        kinds[kind] = max(kinds.get(kind, problem), problem, key=_last_number)
        names[kind] += problem.names
    return [problem._replace(names=names[kind]) for kind, problem in kinds.items()]


def _last_number(problem: Problem) -> int:
    return int(["0", *re.findall(r"\d+", problem.text)][-1])


def _files(part: Part) -> Iterator[Problem]:
    """Names that are twice there; samples that cannot be read, or do not fit."""
    ids, files = part.dataset.ids, part.dataset.files
    if twice := [name for name, count in Counter(ids).items() if count > 1]:
        yield Problem(f"twice in the list {part.name}: take one of each out", twice)
    for place, error in part.errors.items():
        yield Problem(str(error), [ids[place]], files[place])


def _masks(part: Part, sure: bool, nameless: str) -> Iterator[Problem]:
    """Masks that cannot be meant so, or that lie where their images do not change."""
    wrong = what_must_go_wrong(part, sure or bool(nameless)) or nameless
    labels = part.table < len(part.classes)
    if wrong:
        yield Problem(wrong, part.those(lambda one: one.counts[part.strange].any()))
    elif empty := part.those(lambda one: not one.counts[labels].any()):
        yield Problem("masks that are void all over: leave them out", empty)
    names, afar = part.those(), [one.afar for one in part.seen]
    for how, places in turned(afar).items():
        if places:
            text = f"masks look {how}, as where an EXIF orientation was lost: store both upright"
            yield Problem(text, [names[i] for i in places])
    if pairs := [names[i] + BOTH + names[j] for i, j in swapped(afar)]:
        yield Problem("masks that would fit better if they were swapped: look at these", pairs)


def _worth_knowing(part: Part, crop: int | None) -> Iterator[Problem]:
    """What may be meant so, but makes learning hard."""
    yield from (Problem(f"{part.name}: {note}") for note in notes(part))
    if rare := [name for name, _, pixels, _ in part.shares() if 0 < pixels < RARE]:
        text = f"{part.name}: less than {RARE:.1%} of the pixels; --class-weights helps"
        yield Problem(text, rare)
    most = (LARGE * crop) ** 2 if crop else MOST_PIXELS
    if large := part.those(lambda one: one.counts.sum() > most):
        text = f"more than {LARGE} times the crop, which shows little of them: make them smaller"
        whole = f"more than {MOST_PIXELS:,} pixels, which take long and much memory: give a --crop"
        yield Problem(f"images of {text if crop else whole}", large)


def _same(first: Part, second: Part) -> Iterator[Problem]:
    """Pictures that are trained on and scored on, under another name."""
    one, two = ([seen.afar for seen in part.seen] for part in (first, second))
    ours, theirs = first.those(), second.those()
    pairs = ((ours[i], theirs[j]) for i, j in same_pictures(one, two))
    if same := [BOTH.join(pair) for pair in pairs if len({*pair}) > 1]:
        text = f"the same pictures in {first.name} and in {second.name}, so that scores say little"
        yield Problem(f"{text}: take one of each out", same)
