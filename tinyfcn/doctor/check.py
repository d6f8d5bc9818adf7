"""Everything that can be said of a folder of data without learning from it."""

from __future__ import annotations

import functools
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinyfcn.data import (
    VOID,
    DataError,
    NoClassNames,
    NoSplit,
    SegmentationDataset,
    read_image,
)
from tinyfcn.data.conventions import check_sample
from tinyfcn.data.dataset import Classes
from tinyfcn.doctor.look import Facts, Tally, facts_of, header
from tinyfcn.doctor.masks import listed, notes, what_must_go_wrong
from tinyfcn.doctor.pairs import Afar, from_afar, same_pictures, swapped, turned
from tinyfcn.training.datasets import open_dataset, open_datasets

RARE = 0.001  # of the pixels: so rare a class is hardly learned without help
LARGE = 4  # times the crop, which shows little of such an image
MOST_PIXELS = 2_000_000  # of an image that is trained on whole


class Problem(NamedTuple):
    """What is wrong, and what to do; and the samples or files that it is about."""

    text: str
    names: Sequence[str] = ()


class Seen(NamedTuple):
    """A sample that can be read, and is a pair by its sizes."""

    place: int
    facts: Facts
    size: tuple[int, int]  # height and width
    kinds: tuple[str, str]  # of image and mask, such as "PNG P"
    afar: Afar


@dataclass
class Part:
    """A list of the data, and what its samples are."""

    name: str
    dataset: SegmentationDataset
    seen: list[Seen] = field(default_factory=list)
    errors: dict[int, str] = field(default_factory=dict)  # of samples that cannot be used

    def __post_init__(self) -> None:
        self.tally = Tally(self.dataset)

    def add(self, one: Seen | str, place: int) -> None:
        """Keep what was seen of the sample there."""
        if isinstance(one, str):
            self.errors[place] = one
        else:
            self.seen.append(one)
            self.tally.add(one.facts)

    def ids(self, which: Iterable[Any]) -> list[str]:
        """The names of those of ``seen`` for which the mask of booleans, or places, hold."""
        return [self.dataset.ids[self.seen[i].place] for i in which]

    def where(self, holds: Iterable[Any]) -> list[str]:
        """The names of the samples seen for which something holds."""
        return self.ids(np.flatnonzero([*holds]))


@dataclass
class Check:
    """What was found: the lists that could be opened, what is wrong, and what is worth knowing."""

    parts: list[Part] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)


def check(
    root: str | PathLike[str],
    splits: Sequence[str] = ("train", "val"),
    classes: Classes | None = None,
    void: int | None = None,
    crop: int | None = None,
    progress: Callable[..., Iterable[Any]] = lambda samples, **options: samples,
    workers: int = 2,
    val_share: float | None = None,
    by_folder: bool = False,
) -> Check:
    """Look at everything in a folder.

    Args:
        root, classes, void, val_share, by_folder: as for
            :func:`~tinyfcn.training.datasets.open_datasets`.
        splits: the lists, the first of which is trained on.
        crop: of the training that is planned.
        progress: wraps the loop over samples, such as ``tqdm``, and takes its ``total``.
        workers: threads that read.
    """
    found, nameless = Check(), ""
    opened = functools.partial(
        _open, root, splits, void=void, val_share=val_share, by_folder=by_folder
    )
    try:
        found.parts, found.problems = opened(classes)
    except NoClassNames as error:
        nameless = str(error)
        found.parts, found.problems = opened(["background", *(f"class {i}" for i in range(1, 255))])
    jobs = [(part, place) for part in found.parts for place in range(len(part.dataset))]
    pool = ThreadPoolExecutor(workers, thread_name_prefix="tinyfcn-doctor")
    try:
        seen = pool.map(lambda job: _look(job[0].dataset, job[1]), jobs)
        for (part, place), one in zip(jobs, progress(seen, total=len(jobs)), strict=True):
            part.add(one, place)
    finally:
        pool.shutdown(cancel_futures=True)
    for part in found.parts:
        found.problems += _files(part)
        sure = void is not None or bool(nameless)
        wrong = what_must_go_wrong(part.tally, sure) if part.seen else ""
        if nameless and not wrong:
            wrong = f"{nameless}; the masks hold {listed(part.tally.values)}"
        if wrong:
            strange = part.where(s.facts.counts[part.tally.strange].any() for s in part.seen)
            found.problems.append(Problem(wrong, strange))
        elif part.seen:
            found.problems += [*_empty(part), *_pairs(part)]
            found.notes += _worth_knowing(part, crop)
    found.problems += _both(*found.parts) if len(found.parts) == 2 else []
    found.problems = _merged(found.problems)
    return found


def _open(
    root: str | PathLike[str], splits: Sequence[str], classes: Classes | None, **options: Any
) -> tuple[list[Part], list[Problem]]:
    """The lists, or those that can be opened, and why the others cannot."""
    parts, problems = [], []
    try:
        both = open_datasets(root, splits[0], splits[-1], classes, None, **options)
        return [Part(*pair) for pair in zip(dict.fromkeys(splits), both, strict=False)], []
    except NoClassNames:
        raise
    except NoSplit as error:
        problems.append(Problem(str(error)))
    except (DataError, OSError):
        pass  # said below, where it is about a list
    for split in dict.fromkeys(splits):
        try:
            parts.append(Part(split, open_dataset(root, split, classes, options["void"])))
        except NoSplit:
            pass
        except (DataError, OSError) as error:
            problems.append(Problem(str(error)))
    return parts, problems


def _merged(problems: Iterable[Problem]) -> list[Problem]:
    """What is wrong in several lists, once."""
    names: dict[str, list[str]] = defaultdict(list)
    for problem in problems:
        names[problem.text] += problem.names
    return [Problem(*pair) for pair in names.items()]


def _look(dataset: SegmentationDataset, place: int) -> Seen | str:
    image_path, mask_path = dataset.files[place]
    try:
        image, values = read_image(image_path), dataset.values(place)
        facts = facts_of(dataset, place, values)
        labels = values if dataset.table is None else dataset.table[values]
        labels = np.where(labels < dataset.num_classes, labels, np.uint8(VOID))
        check_sample(image, labels, dataset.num_classes, image_path, mask_path)
    except (DataError, OSError) as error:
        return str(error)
    kinds = header(image_path)[0], header(mask_path)[0]
    return Seen(place, facts, labels.shape, kinds, from_afar(image, labels))


def _files(part: Part) -> Iterable[Problem]:
    """Names that are twice there; files that cannot be read or do not fit, by the reason."""
    twice = [name for name, count in Counter(part.dataset.ids).items() if count > 1]
    if twice:
        yield Problem(f"twice in the list {part.name}: take one of each out", twice)
    reasons = defaultdict(list)
    for place, error in part.errors.items():
        file = next((p for p in part.dataset.files[place] if error.startswith(f"{p}: ")), Path())
        reason = error.removeprefix(f"{file}: ")
        reasons[re.sub(r"\d+|\S*/\S*", "", reason)].append((reason, file.name))
    for group in reasons.values():
        such = f"such as {group[0][1]}: " if len(group) > 1 else ""
        yield Problem(such + group[0][0], [name for _, name in group])


def _empty(part: Part) -> Iterable[Problem]:
    """Masks in which there is nothing to learn."""
    used = part.tally.table < len(part.tally.classes)
    if empty := part.where(not s.facts.counts[used].any() for s in part.seen):
        yield Problem("masks that are void all over; leave them out", empty)


def _pairs(part: Part) -> Iterable[Problem]:
    """Whether masks lie where their images change."""
    afar = [seen.afar for seen in part.seen]
    for how, places in turned(afar).items():
        if places:
            text = f"{part.name}: masks look {how}; perhaps the image's EXIF orientation was lost"
            yield Problem(text, part.ids(places))
        if len(places) == len(afar):  # of what is turned, little can be said
            return
    if pairs := [" and ".join(part.ids(pair)) for pair in swapped(afar)]:
        yield Problem(f"{part.name}: these masks would fit better if they were swapped", pairs)


def _worth_knowing(part: Part, crop: int | None) -> Iterable[Problem]:
    """What may be meant so, but makes learning hard."""
    tally, total = part.tally, part.tally.labels.sum()
    yield from (Problem(f"{part.name}: {note}") for note in notes(tally))
    shares = zip(tally.classes, tally.labels, strict=False)
    if rare := [name for name, pixels in shares if 0 < pixels < RARE * total]:
        text = f"{part.name}: less than {RARE:.1%} of the pixels; --class-weights helps"
        yield Problem(text, rare)
    most = (LARGE * crop) ** 2 if crop else MOST_PIXELS
    if large := part.where(seen.size[0] * seen.size[1] > most for seen in part.seen):
        text = f"more than {LARGE} times the crop, which shows little of them: make them smaller"
        whole = f"more than {MOST_PIXELS:,} pixels, which take long and much memory: give a --crop"
        yield Problem(f"{part.name}: images of {text if crop else whole}", large)


def _both(first: Part, second: Part) -> Iterable[Problem]:
    """What is trained on and scored on, by its name or as a picture."""
    lists = f"in {first.name} and in {second.name}, so that scores say little"
    both = {*first.dataset.ids} & {*second.dataset.ids}
    if both:
        yield Problem(f"ids {lists}: take them out of one", sorted(both))
    one, two = ([seen.afar for seen in part.seen] for part in (first, second))
    if one and two:
        pairs = [(*first.ids([i]), *second.ids([j])) for i, j in same_pictures(one, two)]
        if same := [f"{a} = {b}" for a, b in pairs if a != b]:
            yield Problem(f"the same pictures {lists}: take one of each out", same)
