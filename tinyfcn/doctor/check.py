"""Everything that can be said of a folder of data without learning from it."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyfcn.cli.errors import typed
from tinyfcn.data import DataError, NoClassNames, NoSplit, SegmentationDataset, read_image
from tinyfcn.data.dataset import Classes
from tinyfcn.doctor.look import ENOUGH, Part
from tinyfcn.doctor.masks import what_must_go_wrong, worth_knowing
from tinyfcn.doctor.pairs import same_pictures, swapped, turned
from tinyfcn.files import AnyPath
from tinyfcn.training.datasets import open_dataset, open_datasets

RARE = 0.001  # of the pixels: so rare a class is hardly learned without help
BOTH = " / "  # between two names
LARGE = 4  # times the crop, which shows little of such an image
MOST_PIXELS = 2_000_000  # of an image that is trained on whole
UNNAMED = ("background", *(f"class {label}" for label in range(1, 255)))


class Problem(NamedTuple):
    """What is wrong, or with ``note`` may be meant so, and what to do; the samples it is about."""

    text: str
    names: list[str]
    note: bool = False

    def __str__(self) -> str:
        return "note: " * self.note + self.text


def before_training(
    dataset: SegmentationDataset, scored: SegmentationDataset | None = None, sure: bool = False
) -> list[str]:
    """Look at masks, in random order, until every class was seen; in the end at all of them.

    Args:
        dataset: what is to be trained on.
        scored: what is to be scored on, of which some masks are looked at.
        sure: the user has said which value is void.

    Returns:
        Sentences that are worth to be read.

    Raises:
        DataError: if masks do not say what they must have been meant to, as where a class never
            occurs while its value is taken for void; with what to do.
        FileNotFoundError: for a mask that is gone.
    """
    training = Part(dataset)
    for part in (training, Part(scored)) if scored else (training,):
        places = np.random.default_rng(0).permutation(len(part.dataset)).tolist()
        part.look(places if part is training else places[:ENOUGH], images=False)
        for error in part.errors.values():
            raise error
        if (part is training or part.strange) and (wrong := what_must_go_wrong(part, sure)):
            raise DataError(wrong)
    return worth_knowing(training)


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
) -> tuple[list[Part], list[Problem]]:
    """Look at everything in a folder: the lists that can be opened, and all that can be said.

    Args:
        root, classes, void, shared: as for :func:`~tinyfcn.training.datasets.open_datasets`.
        splits: the lists, the first of which is trained on.
        crop: of the training that is planned.
        progress: wraps the loop over the samples of a list, such as ``tqdm``; takes its ``total``.
        workers: threads that read.
        read_image: reads an image file.
    """
    said: list[Problem] = []
    names = [*dict.fromkeys(splits)]

    def opened(how: Callable[..., Any], *lists: str, classes: Classes | None = classes) -> Any:
        """What can be opened, under other names where classes have none; what is wrong is said."""
        try:
            return how(root, *lists, classes=classes, void=void)
        except (DataError, OSError) as error:
            if not (said and isinstance(error, NoSplit)):  # it is known which list is missing
                said.append(Problem(typed(str(error)), []))
            return opened(how, *lists, classes=UNNAMED) if isinstance(error, NoClassNames) else None

    both = opened(functools.partial(open_datasets, **shared), names[0], names[-1])
    found = both or (opened(open_dataset, name) for name in names)
    parts = [Part(*one) for one in zip(found, names, strict=False) if one[0]]
    notes: dict[str, list[str]] = {}  # and the lists that they are of
    for part in parts:
        part.dataset.read_image = read_image
        part.look(range(len(part.dataset)), True, workers, progress)
        wrong = what_must_go_wrong(part, void is not None or part.classes == UNNAMED)
        said += _problems(part, wrong, crop)
        for note in () if wrong or part.classes == UNNAMED else worth_knowing(part):
            notes.setdefault(note, []).append(part.name)
    for note, of in notes.items():
        said.append(Problem(note if of == names else f"{of[0]}: {note}", [], True))
    if len(parts) == 2:
        one, two = (part.names for part in parts)
        same = same_pictures(*(part.afar[part.seen] for part in parts))
        if both := [one[i] + BOTH + two[j] for i, j in same if one[i] != two[j]]:
            text = f"the same pictures in {names[0]} and in {names[1]}, so that scores say little"
            said.append(Problem(f"{text}: take one of each out", both))
    return parts, _merged(said)


def _merged(said: Iterable[Problem]) -> list[Problem]:
    """What differs in numbers and paths only is said once, of all its samples; notes come last."""
    kinds: dict[str, Problem] = {}
    for text, names, note in sorted(said, key=lambda problem: problem.note):
        kind = re.sub(r"[^:,']*/[^:,']*|\d+", "", text)
        known = kinds.get(kind, Problem(text, []))
        # Of what is said of numbers, that of the largest, as of the range that all must have.
        most = max(known.text, text, key=lambda text: [*map(int, re.findall(r"\d+", text))][-1:])
        kinds[kind] = Problem(most, known.names + names, note)
    return [*kinds.values()]


def _problems(part: Part, wrong: str, crop: int | None) -> Iterator[Problem]:
    """All that is wrong with the samples of a list, or makes learning hard."""
    ids, names, afar = part.dataset.ids, part.names, part.afar[part.seen]
    for place, error in part.errors.items():
        yield Problem(typed(str(error)), [ids[place]])
    if not part.seen:
        return
    if wrong:
        yield Problem(wrong, names[part.having(part.strange)].tolist())
    void = ~part.having(part.table < len(part.classes))
    most = (LARGE * crop) ** 2 if crop else MOST_PIXELS
    found = (
        Problem(f"twice in the list {part.name}: take one of each out",
                [name for name, count in Counter(ids).items() if count > 1]),
        Problem("masks that are void all over: leave them out",
                [] if wrong else names[void].tolist()),
        Problem("masks that would fit better if they were swapped: look at these",
                [names[i] + BOTH + names[j] for i, j in swapped(afar)]),
        *(Problem(f"masks look {how}, as where an EXIF orientation was lost: store both upright",
                  names[which].tolist()) for how, which in turned(afar).items()),
        Problem(f"{part.name}: less than {RARE:.1%} of the pixels; --loss ce+dice helps",
                [name for name, _, pixels, _ in part.shares() if 0 < pixels < RARE], True),
        Problem(f"images of more than {most:,} pixels: make them smaller, or give a --crop that "
                "shows much of them",
                names[part.counts[part.seen].sum(axis=1) > most].tolist(), True),
    )  # fmt: skip
    yield from (problem for problem in found if problem.names)
