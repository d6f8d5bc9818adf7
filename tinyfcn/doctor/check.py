"""Everything that can be said of a folder of data without learning from it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

import numpy as np

from tinyfcn.data import DataError, NoClassNames, NoSplit
from tinyfcn.data.dataset import Classes
from tinyfcn.doctor.look import Part
from tinyfcn.doctor.masks import listed, notes, what_must_go_wrong
from tinyfcn.doctor.pairs import same_pictures, swapped, turned
from tinyfcn.training.datasets import open_dataset, open_datasets

RARE = 0.001  # of the pixels: so rare a class is hardly learned without help
LARGE = 4  # times the crop, which shows little of such an image
MOST_PIXELS = 2_000_000  # of an image that is trained on whole
BOTH = " / "  # between the names of two samples

# What is wrong, and what to do; and the samples that it is about.
Said = tuple[str, Sequence[str]]


@dataclass
class Check:
    """What was found: the lists that could be opened, what is wrong, and what is worth knowing."""

    parts: list[Part] = field(default_factory=list)
    problems: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    notes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def check(
    root: str | PathLike[str],
    splits: Sequence[str] = ("train", "val"),
    classes: Classes | None = None,
    void: int | None = None,
    crop: int | None = None,
    progress: Callable[..., Iterable[Any]] = lambda samples, **options: samples,
    workers: int = 2,
    **shared: Any,
) -> Check:
    """Look at everything in a folder.

    Args:
        root, classes, void, shared: as for :func:`~tinyfcn.training.datasets.open_datasets`.
        splits: the lists, the first of which is trained on.
        crop: of the training that is planned.
        progress: wraps the loop over the samples of a list, such as ``tqdm``; takes its ``total``.
        workers: threads that read.
    """
    found, nameless = Check(), ""
    try:
        _open(found, root, splits, classes, void, shared)
    except NoClassNames as error:
        nameless = str(error)
        names = ["background", *(f"class {i}" for i in range(1, 255))]
        _open(found, root, splits, names, void, shared)
    for part in found.parts:
        part.look(range(len(part.dataset)), True, workers, progress)
        wrong = what_must_go_wrong(part, sure=void is not None or bool(nameless))
        if nameless and part.seen and not wrong:
            wrong = f"{nameless}; the masks hold {listed(part.values)}"
        _add(found.problems, _files(part))
        if wrong and part.seen:
            strange = (one.counts[part.strange].any() for one in part.seen)
            found.problems[wrong] += part.ids(np.flatnonzero([*strange]))
        elif part.seen:
            _add(found.problems, _pairs(part))
            _add(found.notes, _worth_knowing(part, crop))
    if len(found.parts) == 2:
        _add(found.problems, _same(*found.parts))
    return found


def _open(
    found: Check,
    root: str | PathLike[str],
    splits: Sequence[str],
    classes: Classes | None,
    void: int | None,
    shared: dict[str, Any],
) -> None:
    """Open the lists, or those that can be opened, and say why the others cannot."""
    names = [*dict.fromkeys(splits)]
    try:
        both = open_datasets(root, names[0], names[-1], classes, void=void, **shared)
        found.parts = [Part(*pair) for pair in zip(both, names, strict=False)]
        return
    except NoClassNames:
        raise
    except (DataError, OSError) as error:
        found.problems[str(error)] = []
    for name in names:
        try:
            found.parts.append(Part(open_dataset(root, name, classes, void), name))
        except NoSplit:
            pass
        except (DataError, OSError) as error:
            found.problems[str(error)] = []


def _add(said: dict[str, list[str]], more: Iterable[Said]) -> None:
    for text, names in more:
        said[text] += names


def _files(part: Part) -> Iterator[Said]:
    """Names that are twice there; samples that cannot be read or do not fit, by the reason."""
    if twice := [name for name, count in Counter(part.dataset.ids).items() if count > 1]:
        yield f"twice in the list {part.name}: take one of each out", twice
    alike = defaultdict(list)
    for place, error in part.errors.items():
        reason = str(error)
        for path in part.dataset.files[place]:
            reason = reason.replace(str(path), "")
        alike[re.sub(r"\d+", "", reason)].append(place)
    for places in alike.values():
        such = "such as " if len(places) > 1 else ""
        yield f"{such}{part.errors[places[0]]}", [part.dataset.ids[place] for place in places]


def _pairs(part: Part) -> Iterator[Said]:
    """Masks in which there is nothing to learn, or that lie where their images do not change."""
    used = part.table < len(part.classes)
    empty = np.flatnonzero([not one.counts[used].any() for one in part.seen])
    if empty.size:
        yield "masks that are void all over; leave them out", part.ids(empty)
    afar = [one.afar for one in part.seen]
    for how, places in turned(afar).items():
        if places:
            text = f"{part.name}: masks look {how}; perhaps the image's EXIF orientation was lost"
            yield text, part.ids(places)
        if len(places) == len(afar):  # of what is turned, little can be said
            return
    if pairs := [BOTH.join(part.ids(pair)) for pair in swapped(afar)]:
        yield f"{part.name}: these masks would fit better if they were swapped", pairs


def _worth_knowing(part: Part, crop: int | None) -> Iterator[Said]:
    """What may be meant so, but makes learning hard."""
    yield from ((f"{part.name}: {note}", []) for note in notes(part))
    if rare := [name for name, label, pixels, _ in part.shares() if 0 < pixels < RARE]:
        yield f"{part.name}: less than {RARE:.1%} of the pixels; --class-weights helps", rare
    most = (LARGE * crop) ** 2 if crop else MOST_PIXELS
    large = np.flatnonzero([one.size[0] * one.size[1] > most for one in part.seen])
    if large.size:
        text = f"more than {LARGE} times the crop, which shows little of them: make them smaller"
        whole = f"more than {MOST_PIXELS:,} pixels, which take long and much memory: give a --crop"
        yield f"{part.name}: images of {text if crop else whole}", part.ids(large)


def _same(first: Part, second: Part) -> Iterator[Said]:
    """Pictures that are trained on and scored on, under another name."""
    one, two = ([seen.afar for seen in part.seen] for part in (first, second))
    if one and two:
        pairs = [(*first.ids([i]), *second.ids([j])) for i, j in same_pictures(one, two)]
        if same := [BOTH.join(pair) for pair in pairs if len({*pair}) > 1]:
            text = f"the same pictures in {first.name} and in {second.name}, so that scores say"
            yield f"{text} little: take one of each out", same
